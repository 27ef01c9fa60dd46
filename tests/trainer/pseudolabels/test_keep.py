"""``pseudo.TASK.keep``: what is written for it, and what a filter's masks and weights do to the loss."""

from functools import partial

import numpy as np
import pytest
import torch
import yaml

import tutelage as tt
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.keep import Keep
from shards.labels import LabelShards
from shards.pseudolabels import PseudoLabels
from shards.stream import Batches
from trainer.configfile import load
from trainer.losses import MultiTaskLoss
from trainer.pseudolabels.stage import label
from trainer.setting import options_of
from trainer.stages import run
from trainer.trainingdata import TrainingData
from trainer.trainstage import trainer_of

FILTERS = """
import numpy as np

def sure(task, label, confidence, statistics):
    return confidence > 0.4

def weights(task, label, confidence, statistics):
    assert statistics["frames"] and len(statistics["pixels"]) == len(task.classes)
    return np.where(label % 2 == 0, confidence, 0.25)

def above(limit, task, label, confidence, statistics):
    return confidence > limit

class Counting:
    def __init__(self, limit):
        self.limit, self.frames = limit, 0

    def __call__(self, task, label, confidence, statistics):
        self.frames += 1
        return confidence > self.limit

class Half:
    def __call__(self, task, label, confidence, statistics):
        return np.full(label.shape, 0.5)

def flat(task, label, confidence, statistics):
    return (confidence > 0.4).ravel()

def numbers(task, label, confidence, statistics):
    return label

def large(task, label, confidence, statistics):
    return 2 * confidence

NOTHING = 3
"""


@pytest.fixture
def filters(tmp_path, monkeypatch):
    (tmp_path / "keeping.py").write_text(FILTERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "keeping", raising=False)
    import keeping

    return keeping


@pytest.mark.parametrize(
    ("value", "keep", "spelling"),
    [
        (0.9, Keep(0.9), 0.9),
        (0, Keep(0.0), 0.0),
        ("1e-2", Keep(0.01), 0.01),
        ("all", Keep(), "all"),
        (None, Keep(), "all"),
        ("50%", Keep(quantile=0.5), "50%"),
        ("12.50 %", Keep(quantile=0.125), "12.5%"),
        ("100%", Keep(quantile=1.0), "100%"),
    ],
)
def test_one_value_says_what_is_kept(value, keep, spelling):
    assert Keep.of(value) == keep and keep.value == spelling
    assert Keep.of(value, soft=True, weighted=True) == Keep(keep.threshold, keep.quantile, True, True)


@pytest.mark.parametrize("quantile", [0.1, 1 / 3, 0.07, 0.123456789, 1e-5])
def test_a_share_keeps_its_value_as_text(quantile):
    assert Keep.of(Keep(quantile=quantile).value).quantile == quantile


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "1.0 is not a threshold; give a confidence of at least 0 and less than 1, or all"),
        (float("nan"), "nan is not a threshold"),
        ("0%", "0% is not a share; give more than 0% and at most 100%"),
        ("101%", "101% is not a share"),
        ("most", "'most' is unknown; give a confidence, all, a share such as 50%, or my.module:name"),
    ],
)
def test_another_value_is_refused(value, message):
    with pytest.raises(UserError, match=message):
        Keep.of(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 50}, "quantile=50 is not a share; give more than 0 and at most 1"),
        ({"quantile": float("nan")}, "quantile=nan is not a share"),
        ({"threshold": 90.0}, "90.0 is not a threshold; give a confidence of at least 0 and less than 1, or all"),
        ({"threshold": "0.9"}, "0.9 is not a threshold"),
        ({"threshold": 0.9, "quantile": 0.5}, "is given threshold and quantile; give one of them"),
        ({"threshold": 0.9, "filter": lambda *_: None}, "is given threshold and filter"),
        ({"filter": lambda task: None}, r"cannot be called with \(task, label, confidence, statistics\)"),
        ({"filter": 3}, "cannot be called with"),
    ],
)
def test_a_selection_made_from_python_is_checked(options, message):
    with pytest.raises(UserError, match=f"^keep: .*{message}"):
        Keep(**options)


def test_settings_of_python_runs_note_it_as_before_there_were_filters(filters):
    assert str(Keep(0.9)) == "Keep(threshold=0.9, quantile=None, soft=False, weighted=False)"
    assert str(Keep.of(filters.sure)) == f"{Keep()} keeping:sure"
    assert str(Keep.of(filters.Half)) == str(Keep.of(filters.Half())) == f"{Keep()} keeping:Half"


def test_settings_of_python_runs_note_what_a_filter_was_made_with(filters):
    for make in (lambda limit: partial(filters.above, limit), filters.Counting):
        assert str(Keep.of(make(0.1))) == str(Keep.of(make(0.1))) != str(Keep.of(make(0.9)))
    keep = Keep.of(filters.Counting(0.1))
    before = str(keep)
    keep.filter(None, None, np.zeros((2, 2)), {})
    assert keep.filter.frames == 1 and str(keep) == before, "the state that it has later does not matter"


def test_a_python_run_with_another_filter_is_refused(filters, scenes_dataset, finished, tmp_path):
    label(teacher := finished("teacher"))

    def trainer(limit: float) -> tt.Trainer:
        pseudo = {"semseg": PseudoLabels(teacher.labels, keep=partial(filters.above, limit))}
        train = ShardDataset(scenes_dataset, "train", tasks=["semseg"], pseudo=pseudo, labels={"semseg": 8})
        model = tt.create_model("fpn", backbone="test_efficientnet", inputs=["rgb"], tasks=train.tasks)
        return tt.Trainer(model, MultiTaskLoss(train.tasks), train, out=tmp_path / "own", global_batch_size=8, steps=1)

    trainer(0.1).fit()
    trainer(0.1).fit()
    with pytest.raises(UserError, match=r"pseudo_labels: holds a run with .*above, 0\.1\).*, not .*above, 0\.9\)"):
        trainer(0.9).fit()


def test_a_configuration_says_it_in_one_way(make):
    def keep_of(value: str):
        return make("student", f"pseudo.semseg.keep={value}").config.pseudo.semseg.keep

    assert [keep_of(value) for value in ("0", "0.0", "50.0%", "all", "a.b:c")] == [0.0, 0.0, "50%", "all", "a.b:c"]
    for invalid in ("true", "null", "[1]"):
        with pytest.raises(UserError, match=r"pseudo\.semseg\.keep"):
            keep_of(invalid)


def test_runs_of_before_are_read_and_continued(finished):
    """The resolved configuration of older runs has threshold and quantile in place of keep."""
    student = finished("student")
    path, options = student.folder / "config.yaml", options_of(student.folder)
    text = path.read_text()
    both = ((0.7, None, 0.7), (None, None, "all"), (None, 0.5, "50%"), (0.9, 0.5, "50%"), (0.4, None, 0.4))
    for threshold, quantile, keep in both:
        config = yaml.safe_load(text)
        del config["pseudo"]["semseg"]["keep"]
        config["pseudo"]["semseg"] |= {"threshold": threshold, "quantile": quantile}
        path.write_text(yaml.safe_dump(config))
        assert load(path).pseudo.semseg.keep == keep
        assert options_of(student.folder) == options | {"pseudo.semseg.keep": keep}
    result = (student.folder / "result.json").read_bytes()
    run(student)
    assert (student.folder / "result.json").read_bytes() == result


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("{threshold: 0.8}", "threshold: is not an option; write pseudo.semseg.keep: 0.8"),
        ("{threshold: null}", "threshold: is not an option; write pseudo.semseg.keep: all"),
        ("{quantile: 0.5, threshold: null}", "quantile: is not an option; write pseudo.semseg.keep: 50%"),
        ("{threshold: much}", "threshold: is not an option; write pseudo.semseg.keep: 0.9"),
    ],
)
def test_an_old_option_is_told_what_to_write(configs, tmp_path, option, message):
    path = tmp_path / "old.yaml"
    path.write_text(f"inherits: {configs / 'student.yaml'}\npseudo: {{semseg: {option}}}\n")
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value) == f"{path}: pseudo.semseg.{message}"
    with pytest.raises(UserError, match=r"command line: pseudo\.semseg\.quantile: .*; write pseudo\.semseg\.keep=30%"):
        load(configs / "student.yaml", ["pseudo.semseg.quantile=0.3"])


def test_a_filters_mask_keeps_what_a_threshold_does(filters, finished, scenes_dataset):
    teacher, task = finished("teacher"), scenes_dataset.task("semseg")
    label(teacher)
    filtered, thresholded = (
        LabelShards(teacher.labels, scenes_dataset, "train", task, keep) for keep in (filters.sure, 0.4)
    )
    for shard in range(3):
        for key in filtered.keys(shard):
            arrays = filtered.read_arrays(shard, key)
            np.testing.assert_array_equal(arrays["semseg"], thresholded.read(shard, key))
            np.testing.assert_array_equal(arrays["semseg.weight"][..., 0], 255 * (arrays["semseg"] != 255))


def test_a_filter_is_given_from_python_too(filters, finished, scenes_dataset):
    teacher = finished("teacher")
    label(teacher)
    budget = {"semseg": teacher.config.labels["semseg"]}
    pseudo = {"semseg": PseudoLabels(teacher.labels, keep=filters.Half)}
    data = ShardDataset(scenes_dataset.folder, "train", pseudo=pseudo, labels=budget)
    weights = [data[number].get("semseg.weight") for number in np.flatnonzero(data.frames.pseudo["semseg"])]
    assert weights and all((weight == 128).all() for weight in weights)


@pytest.mark.parametrize(("keep", "warned"), [("0.99", True), ("0.01", False)])
def test_labels_of_which_nothing_is_kept_are_told(finished, caplog, keep, warned):
    label(finished("teacher"))
    trainer_of(finished("student", f"pseudo.semseg.keep={keep}"))
    assert ("note: pseudo.semseg.keep=0.99 keeps no pixel of the teacher's labels" in caplog.text) == warned


@pytest.mark.parametrize("overrides", [(), ("pseudo.semseg.weight=confidence",), ("pseudo.semseg.target=soft",)])
def test_weights_reach_the_loss_whatever_ranks_share_the_batch(filters, finished, overrides):
    """The loss is Σ weight × loss / Σ weight over the global batch."""
    student = finished("student", "pseudo.semseg.keep=keeping:weights", *overrides)
    criterion, task = MultiTaskLoss(student.tasks), student.tasks[0]
    data = TrainingData.of(student.config, student.training_frames())
    for batch in data.batches(Batches(student.config.train.global_batch_size), 0, 2):
        count = len(batch.keys)
        logits = torch.randn(count, len(task.classes), 32, 64, generator=torch.Generator().manual_seed(1))
        depth = torch.zeros(count, 1, 32, 64)

        def terms_of(rows: slice, counts: torch.Tensor, batch=batch, logits=logits, depth=depth) -> torch.Tensor:
            final = {"semseg": logits[rows], "depth": depth[rows]}
            terms = type("Terms", (), {"final": final, "initial": []})
            return criterion.terms(terms, {name: label[rows] for name, label in batch.labels.items()}, counts)

        def counts_of(rows: slice, batch=batch) -> torch.Tensor:
            return criterion.counts({name: label[rows] for name, label in batch.labels.items()})

        weight, hard = batch.labels["semseg.weight"][:, 0].double(), batch.labels["semseg"].long()
        total = counts_of(slice(None))
        assert total[0] == weight[hard != 255].sum() and weight.unique().numel() > 2
        cuts = [slice(0, 1), slice(1, count)]
        assert torch.equal(sum(counts_of(rows) for rows in cuts), total)
        batch_terms = terms_of(slice(None), total)
        torch.testing.assert_close(sum(terms_of(rows, total) for rows in cuts), batch_terms)
        if not overrides or "soft" not in overrides[0]:
            losses = torch.nn.functional.cross_entropy(logits.double(), hard, ignore_index=255, reduction="none")
            assert batch_terms[0].item() == pytest.approx(
                ((losses * weight).sum() / weight[hard != 255].sum()).item(), rel=1e-5
            )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:f", r"pseudo\.semseg\.keep: nowhere cannot be imported"),
        ("keeping:absent", r"pseudo\.semseg\.keep: keeping \(.*keeping.py\) has no absent"),
        ("keeping:NOTHING", r"pseudo\.semseg\.keep: keeping:NOTHING is a .*, which cannot be called; write"),
    ],
)
def test_a_filter_that_there_is_not_is_told_before_the_teacher_is_trained(filters, make, tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        run(make("student", f"pseudo.semseg.keep={name}"))
    assert not list((tmp_path / "runs").rglob("metrics.jsonl"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flat", r"\(pseudo\.semseg\.keep\): the filter gives an array of shape \(2048,\), expected \(32, 64\)"),
        ("numbers", r"the filter gives uint8; give a mask \(bool\), or weights \(floats in 0\.\.1\)"),
        ("large", r"the filter gives weights from .* to .*; give finite weights in 0\.\.1"),
    ],
)
def test_what_a_filter_may_not_give_names_the_frame(filters, finished, scenes_dataset, name, message):
    teacher, task = finished("teacher"), scenes_dataset.task("semseg")
    label(teacher)
    labels = LabelShards(teacher.labels, scenes_dataset, "train", task, getattr(filters, name))
    shard = next(shard for shard in range(3) if labels.keys(shard))
    with pytest.raises(UserError, match=message) as error:
        for key in labels.keys(shard):
            labels.read(shard, key)
    assert error.value.file == teacher.labels / scenes_dataset.shards("train")[shard].file
