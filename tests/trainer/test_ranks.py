"""Real ranks: the same samples, gradients and metrics whatever their number. One launch for each number of them."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import rank_checks
import torch
from ranks import launch
from safetensors.torch import load_file
from tiny import Tiny

from shards.pack import pack

CONFIG = """
    data: {name: tiny, path: DATASET, num_workers: 0}
    labels: {semseg: 4}
    model: {backbone: test_efficientnet, widths: [8, 8, 16, 16]}
    train: {global_batch_size: 12, steps: 4, log_every: 4, trace: true}
"""
CHECKS: dict[int, dict[str, Any]] = {
    1: {"order": [[0, 1], [0, 2], [3, 2]], "gradients": [1, 2], "evaluate": [2, 3], "at label": [3]},
    2: {"order": [[0, 1], [1, 2]], "gradients": [1, 2], "evaluate": [2, 3], "at label": [3]},
    3: {"order": [[0, 1], [0, 2]], "gradients": [1, 2], "evaluate": [2, 3], "at label": [3]},
    5: {"evaluate": [2, 3], "at label": [3]},
}
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than processors
Measured = Callable[[int], tuple[dict[str, Any], Path]]


def data_set(folder: Path, train: int, text: str) -> Path:
    """A configuration of uneven shards, whose frames lack labels unevenly, and seven validation frames."""
    manifest = pack(Tiny(train, 7), folder / "tiny", samples_per_shard=5)
    (folder / "plain.yaml").write_text(text.replace("DATASET", str(manifest.folder)))
    return folder / "plain.yaml"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """``measured(ranks)``: the results of :mod:`rank_checks` with that many ranks, and their folder."""
    config = data_set(tmp_path_factory.mktemp("ranks"), 36, CONFIG)

    @cache
    def measure(ranks: int) -> tuple[dict[str, Any], Path]:
        folder = tmp_path_factory.mktemp(f"with-{ranks}")
        if ranks == 1:
            rank_checks.check(config, folder, CHECKS[ranks])
        else:
            arguments = (rank_checks.__file__, str(config), str(folder), json.dumps(CHECKS[ranks]))
            process = launch(ranks, *arguments)
            assert process.returncode == 0, process.stderr
        return json.loads((folder / "seen.json").read_text()), folder

    return measure


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_workers_and_accumulation_change_no_sample_and_no_augmentation(measured, ranks):
    """By the hash of a sample's RGB and labels, in the order of the global batch."""
    expected = measured(1)[0]["order"]["0 workers, accumulation 1"]
    seen = measured(ranks)[0]["order"]
    assert len(seen) == len(CHECKS[ranks]["order"])
    for steps in seen.values():
        assert steps == expected
    samples = [sample for step in expected for sample in step]
    keys, hashes = ([sample[index] for sample in samples] for index in (0, 1))
    assert len(samples) == 60 and len(set(keys[:24])) == len(set(keys[24:48])) == 24, "two steps an epoch, 3 dropped"
    assert len(set(hashes)) > 48, "the next epoch augments otherwise"


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("ranks", [2, 3])
def test_some_rank_has_no_label_of_a_task(measured, ranks, accumulation):
    """Otherwise the test of gradients shows nothing; if this fails, choose another ``rank_checks.STEP``."""
    counts = [torch.tensor(parts).sum(0) for parts in measured(ranks)[0]["gradients"][str(accumulation)]["labelled"]]
    semseg, depth = torch.stack(counts).T.tolist()
    assert 0 in semseg and sum(semseg) > 0 and all(depth) and len(set(depth)) > 1


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_gradient_is_that_of_one_process(measured, ranks, accumulation):
    seen, folder = measured(ranks)
    assert len(set(seen["gradients"][str(accumulation)]["hashes"])) == 1, "every rank steps alike"
    reference = load_file(measured(1)[1] / "taken-1-1.safetensors")
    assert norm(reference) > 0.01
    assert difference(load_file(folder / f"taken-{ranks}-{accumulation}.safetensors"), reference) < 1e-5


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 2), (2, 1), (2, 2), (3, 1), (3, 2)])
def test_a_mean_of_means_would_be_another_gradient(measured, ranks, accumulation):
    reference = load_file(measured(1)[1] / "naive-1-1.safetensors")
    assert difference(reference, load_file(measured(1)[1] / "taken-1-1.safetensors")) < 1e-5, "but for one mean"
    naive = load_file(measured(ranks)[1] / f"naive-{ranks}-{accumulation}.safetensors")
    assert difference(naive, reference) > 0.05


def norm(tensors: dict[str, torch.Tensor]) -> float:
    return float(torch.stack([tensor.double().square().sum() for tensor in tensors.values()]).sum().sqrt())


def difference(tensors: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]) -> float:
    """Return the norm of the difference of all gradients as one vector, relative to the reference's."""
    assert tensors.keys() == reference.keys()
    return norm({name: tensors[name] - reference[name] for name in reference}) / norm(reference)


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_an_evaluation_counts_the_same_to_the_last_bit(measured, ranks, batch):
    """Seven frames, which no number of ranks and no batch divides: the fifth rank has none."""
    expected = measured(1)[0]["evaluate"][str(batch)]
    classes, pixels = sum(expected[:16]), expected[16]
    assert (classes, pixels) == (5 * 30 * 64, 6 * 32 * 61), "five frames carry semseg and six depth, each with holes"
    assert measured(ranks)[0]["evaluate"][str(batch)] == expected


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_so_does_one_at_the_labels_size_within_a_range_and_a_window(measured, ranks):
    expected = measured(1)[0]["evaluate"]["3 at label"]
    assert sum(expected[:16]) == 5 * 30 * 64 and 0 < expected[16] < 6 * 28 * 56
    assert measured(ranks)[0]["evaluate"]["3 at label"] == expected


LONG = CONFIG.replace("global_batch_size: 12", "global_batch_size: 24").replace("semseg: 4", "semseg: 30")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int, int], str]:
    """``trained(ranks, workers, accumulation)``: ``order.jsonl`` of a run of the command: two epochs of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    config = data_set(folder, 53, LONG)

    @cache
    def train(ranks: int, workers: int, accumulation: int) -> str:
        name = f"{ranks}-{workers}-{accumulation}"
        options = (
            f"data.num_workers={workers}",
            f"train.gradient_accumulation_steps={accumulation}",
            f"run.path={folder / name}",
        )
        process = launch(ranks, "-m", "tutelage", "train", str(config), *options)
        assert process.returncode == 0, process.stderr
        return (folder / name / "order.jsonl").read_text()

    return train


@pytest.mark.long
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_the_command_trains_on_the_same_batches(trained, ranks, workers, accumulation):
    """Line by line, unsorted."""
    order = trained(ranks, workers, accumulation)
    assert len(order.splitlines()) == 4
    assert order == trained(1, 0, 1)
