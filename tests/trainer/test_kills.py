"""kill -9 at any moment, on any number of ranks: a run that is started again ends as the undisturbed one."""

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ranks import launch
from runs import assert_same_run, lines
from warm import python

from trainer.runs import artifacts
from trainer.trainstage import train

SCRIPT = str(Path(__file__).parents[1] / "support/dying_rank.py")
ENGINES = Path(__file__).parents[2] / "configs/engine"
OPTIONS = (
    "train.global_batch_size=6",
    "train.steps=24",
    "train.log_every=5",
    "checkpoint.every=4",
    "evaluate.every=3",
    "data.num_workers=1",
)
"""Four steps an epoch; kills fall between, in and beside epochs, evaluations, log lines and checkpoints."""


@pytest.fixture
def attempt(configs: Path, tmp_path: Path) -> Callable[..., bool]:
    """``attempt(name, ranks, rank, moment)`` runs ``plain`` as experiment ``name`` until it ends or ``rank`` is killed.

    It returns whether the run finished.
    """

    def attempt(
        name: str,
        ranks: int,
        rank: int = 0,
        moment: str = "never",
        options: tuple[str, ...] = OPTIONS,
        engine: str | None = None,
    ) -> bool:
        arguments = [SCRIPT, str(rank), moment, str(configs / "plain.yaml"), *options]
        arguments += [f"run.root={tmp_path / 'runs'}", f"experiment={name}"]
        if ranks == 1:
            process = subprocess.run([python(), *arguments], text=True, capture_output=True)
        else:
            process = launch(ranks, *arguments, config=ENGINES / f"{engine}.yaml" if engine else None)
        finished = process.returncode == 0
        assert finished or moment != "never", process.stderr
        if not finished and ranks > 1:
            survivors = process.stderr.count("another rank ended or does not answer")
            assert survivors, process.stderr
        return finished

    return attempt


def killed_and_continued(attempt, folder: Path, ranks: int, kills: list[tuple[int, str]]) -> None:
    """Compare a killed run with an undisturbed one; a kill that comes after a run's end is repeated on another run."""
    attempt("undisturbed", ranks)
    run = 0
    for rank, moment in kills:
        while attempt(f"killed-{run}", ranks, rank, moment):
            run += 1
    assert attempt(f"killed-{run}", ranks)
    for number in range(run + 1):
        assert_same_run(folder / f"killed-{number}/seed-0", folder / "undisturbed/seed-0")


def test_three_kills_of_three_ranks(attempt, tmp_path):
    """Three, since two ranks sum the same whatever the order of DDP's buckets."""
    kills = [(1, f"{random.uniform(0, 2):.3f}"), (0, "saving"), (0, "last")]
    killed_and_continued(attempt, tmp_path / "runs/scenes", 3, kills)


@pytest.mark.parametrize(
    "engine", ["zero2", *(pytest.param(name, marks=pytest.mark.long) for name in ("ddp", "zero1", "zero3", "fsdp2"))]
)
def test_a_killed_run_of_every_engine(attempt, tmp_path, engine):
    options = (*OPTIONS, "train.steps=12")
    assert not attempt("killed", 2, 1, "step 9", options, engine)
    assert attempt("killed", 2, options=options, engine=engine)
    assert attempt("undisturbed", 2, options=options, engine=engine)
    assert_same_run(tmp_path / "runs/scenes/killed/seed-0", tmp_path / "runs/scenes/undisturbed/seed-0")


@pytest.mark.long
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_many_kills(attempt, tmp_path, ranks):
    rng = random.Random(ranks)
    kills = [(rng.randrange(ranks), str(rng.uniform(0, 0.8))) for _ in range(6)]
    killed_and_continued(attempt, tmp_path / "runs/scenes", ranks, [(0, "saving"), *kills, (0, "last")])


@pytest.mark.parametrize(
    "engine", [None, pytest.param("zero2", marks=pytest.mark.long), pytest.param("fsdp2", marks=pytest.mark.long)]
)
def test_killed_on_two_ranks_and_continued_on_one_and_on_three(attempt, make, tmp_path, engine):
    """The order is the same as a whole; the losses are, up to rounding, where batch norm does not see the ranks."""
    options = (*OPTIONS, "model.norm=frozen", "evaluate.every=0")
    runs = tmp_path / "runs/scenes"
    assert not attempt("one", 2, 1, "step 9", options, engine)
    assert artifacts.newest(runs / "one/seed-0/checkpoints")
    shutil.copytree(runs / "one", runs / "three")
    for config in (runs / "three").rglob("config.yaml"):
        text = config.read_text().replace("experiment: one", "experiment: three")
        config.write_text(text.replace("/one/", "/three/"))
    undisturbed = make("plain", *options, "experiment=undisturbed")
    train(undisturbed)
    train(make("plain", *options, "experiment=one"))
    assert attempt("three", 3, options=options, engine=engine)
    for name in ("one", "three"):
        assert lines(runs / name / "seed-0", "order") == lines(undisturbed.folder, "order")
        losses = [
            [line["loss"]["total"] for line in lines(folder)] for folder in (runs / name / "seed-0", undisturbed.folder)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
