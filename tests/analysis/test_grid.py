"""A grid of runs: which runs it contains, their order, and that one failing run does not stop the others."""

import pytest

from analysis.grid import FINISHED, INTERRUPTED, OTHER, PENDING, Grid, folder_of, rows_of, samples, state
from shards.errors import UserError
from trainer.runs.status import Interrupted


@pytest.fixture
def make_grid(configs, tmp_path):
    """``make_grid(rows, seeds, overrides)``: a grid of the shared configurations, its runs in this test's folder."""

    def make(rows=None, seeds=1, *overrides) -> Grid:
        return Grid(str(configs), rows, seeds, [f"run.root={tmp_path / 'runs'}", *overrides])

    return make


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """Names of the runs that were started; a started run does nothing."""
    names: list[str] = []
    monkeypatch.setattr("trainer.stages.run", lambda cell: names.append(f"{cell.config.experiment} {cell.config.seed}"))
    return names


def names(grid: Grid) -> list[str]:
    return [f"{cell.config.experiment} {cell.config.seed}" for cell in grid.cells]


def test_rows_come_seed_by_seed_and_after_their_teachers(make_grid):
    assert names(make_grid()) == ["plain 0", "teacher 0", "student 0"]
    assert names(make_grid(["student"], 2)) == ["teacher 0", "student 0", "teacher 1", "student 1"]
    assert names(make_grid(["plain"], 2, "seed=5")) == ["plain 5", "plain 6"]
    grid = make_grid(["teacher", "student"])
    assert [teacher.config.experiment for teacher in grid.teachers(grid.cells[1])] == ["teacher"]
    assert grid.teachers(grid.cells[0]) == []


def test_bases_and_pretraining_are_no_rows(tmp_path):
    for name in ("base", "base-l", "baseline", "pretrain", "ummt", "ummt-ps"):
        (tmp_path / f"{name}.yaml").touch()
    assert [path.stem for path in rows_of(tmp_path)] == ["baseline", "ummt", "ummt-ps"]


def test_two_rows_of_one_name_are_refused(configs, tmp_path):
    """One would silently be mistaken for the other."""
    for name, rate in (("a", 0.1), ("b", 0.2)):
        text = f"inherits: {configs / 'plain.yaml'}\nexperiment: same\ntrain: {{lr: {rate}}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(UserError, match=r"b\.yaml: experiment: has the name of \S+a\.yaml, and so would be"):
        Grid(str(tmp_path))


def test_a_folder_by_its_name_or_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/nyudv2").mkdir(parents=True)
    (tmp_path / "configs/nyudv2/ummt.yaml").touch()
    (tmp_path / "mine").mkdir()
    assert [str(folder_of(name)) for name in ("nyudv2", "configs/nyudv2", "mine")] == [
        "configs/nyudv2",
        "configs/nyudv2",
        "mine",
    ]
    with pytest.raises(UserError, match=r"nyud: is not a folder of configurations; did you mean nyudv2\?"):
        folder_of("nyud")
    with pytest.raises(UserError, match="mine: holds no configuration of a row"):
        Grid("mine")


def test_how_far_runs_are(finished, configs, tmp_path):
    root = finished("student").config.run.root
    cells = Grid(str(configs), seeds=2, overrides=[f"run.root={root}"]).cells
    assert [state(cell) for cell in cells] == [PENDING, FINISHED, FINISHED, PENDING, PENDING, PENDING]
    (cells[2].folder / "result.json").unlink()
    assert state(cells[2]) == INTERRUPTED
    others = Grid(str(configs), overrides=[f"run.root={root}", "train.lr=0.5"]).cells
    assert [state(cell) for cell in others] == [PENDING, OTHER, OTHER]


def test_samples_are_steps_of_batches(make_grid):
    (cell,) = make_grid(["plain"]).cells
    assert samples(cell) == "16"
    (cell,) = make_grid(["plain"], 1, "train.steps=null", "train.epochs=7").cells
    assert samples(cell) == "7 epochs"


def test_a_failing_run_takes_its_students_along_and_nobody_else(make_grid, ran, monkeypatch, caplog):
    def fail(cell):
        if cell.config.experiment == "teacher" and cell.config.seed == 0:
            raise ValueError("a bug in [depth]")
        ran.append(f"{cell.config.experiment} {cell.config.seed}")

    monkeypatch.setattr("trainer.stages.run", fail)
    grid = make_grid(None, 2)
    failures = grid.run()
    assert ran == ["plain 0", "plain 1", "teacher 1", "student 1"]
    assert list(failures.values()) == ["a bug in [depth]", "its teacher failed (teacher, seed 0)"]
    assert list(failures) == [grid.cells[1].folder, grid.cells[2].folder]
    assert "teacher, seed 0 failed: a bug in [depth]" in caplog.messages and "ValueError: a bug" in caplog.text


def test_what_would_fail_is_said_before_anything_before_anything_is_run(configs, ran, tmp_path, caplog):
    (tmp_path / "rows").mkdir()
    for name, budget in {"a": 8, "b": 25, "c": 8}.items():
        text = f"inherits: {configs / 'base.yaml'}\nlabels: {{semseg: {budget}}}\nrun: {{root: {tmp_path / 'runs'}}}"
        (tmp_path / f"rows/{name}.yaml").write_text(text)
    (reason,) = Grid(str(tmp_path / "rows")).run().values()
    assert "labels.semseg: 25 frames, where 24 carry the label" in reason and ran == ["a 0", "c 0"]
    assert caplog.messages[0].startswith("b, seed 0 cannot be run: ")


def test_what_keeps_every_run_from_starting_is_one_error(make_grid, ran, tmp_path):
    with pytest.raises(UserError, match=r"nowhere: data\.path: is not a prepared data set"):
        make_grid(None, 2, f"data.path={tmp_path / 'nowhere'}").run()
    assert not ran


@pytest.mark.parametrize("end", [Interrupted("stopped"), KeyboardInterrupt()])
def test_a_stop_stops_all(make_grid, monkeypatch, end):
    def stop(cell):
        raise end

    monkeypatch.setattr("trainer.stages.run", stop)
    with pytest.raises(type(end)):
        make_grid().run()


def test_what_a_teacher_would_not_take_over_is_refused(make_grid):
    with pytest.raises(UserError, match=r"command line: loss\.normalise: a teacher of a row would not inherit it"):
        make_grid(None, 1, "loss.normalise=all")
    with pytest.raises(UserError, match="--seeds: 0 seeds"):
        make_grid(None, 0)
    with pytest.raises(UserError, match=r"did you mean .*student\.yaml"):
        make_grid(["studnet"])
