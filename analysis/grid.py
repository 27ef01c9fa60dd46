"""A whole table: every row of a folder of configurations, for several seeds.

A row is an experiment, and a row that teaches others is trained once: its students find it finished. What is finished
is kept, and what was interrupted continues (:mod:`trainer.stages`), so a grid can be ended and started again.
"""

import difflib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shards.errors import UserError
from trainer.configfile import load, shared, to_dict
from trainer.configvalues import COMMAND_LINE
from trainer.experiment import Experiment
from trainer.pipeline import networks, teachers_of
from trainer.progress import say
from trainer.ranks import ranks
from trainer.runs import checkpoint
from trainer.runs.folder import check_configuration
from trainer.runs.result import NAME
from trainer.runs.status import Interrupted, LostRank
from trainer.setting import decisive
from trainer.shipped import folders, shipped
from trainer.stages import check, run

NO_ROWS = ("base", "pretrain")
"""Configurations that are no rows begin with one of these."""
FINISHED, INTERRUPTED, PENDING, OTHER = "finished", "interrupted", "pending", "other settings"


class Cells:
    """Experiments to be run one after another, each after its teachers, which join them.

    Args:
        experiments: in the order in which they are run; one that is there already is not run twice.

    Raises:
        UserError: a bad configuration of a teacher, or two that would be kept in one folder.
    """

    def __init__(self, experiments: Iterable[Experiment]) -> None:
        seen: dict[Path, Experiment] = {}
        self.cells = [cell for each in experiments for cell in _with_teachers(each, seen)]

    def name(self, cell: Experiment) -> str:
        """A cell in words."""
        return f"{cell.config.experiment}, seed {cell.config.seed}"

    def teachers(self, cell: Experiment) -> list[Experiment]:
        """The cells that teach one."""
        wanted = {teacher.folder for teacher in teachers_of(cell)}
        return [each for each in self.cells if each.folder in wanted]

    def run(self) -> dict[Path, str]:
        """Run every cell. One that fails is reported, and so are its students; the others are run.

        Returns:
            Why a cell failed, by its folder.

        Raises:
            UserError: what keeps every cell from being run, such as data that are not there.
            Interrupted: when a signal asks for a stop; started again, the grid continues.
        """
        failed: dict[Path, str] = {}
        for cell in self.cells:
            try:
                check(cell)
            except UserError as error:  # now, and not after hours
                failed[cell.folder] = str(error)
                if len(failed) == len(self.cells) and len(set(failed.values())) == 1:
                    raise
        for reason in dict.fromkeys(failed.values()):
            names = (self.name(cell) for cell in self.cells if failed.get(cell.folder) == reason)
            say(f"{'; '.join(names)} cannot be run: {reason}")
        for number, cell in enumerate(self.cells, 1):
            if cell.folder in failed:
                continue
            say(f"\n{number} of {len(self.cells)}: {self.name(cell)}")
            lost = [self.name(each) for each in self.teachers(cell) if each.folder in failed]
            why = f"its teacher failed ({', '.join(lost)})" if lost else _run(cell)
            if why:
                failed[cell.folder] = why
                say(f"{self.name(cell)} failed: {why}")
        return failed


class Grid(Cells):
    """The rows of a table for several seeds, teachers before their students.

    Args:
        dataset: the path of a folder of configurations, or the name of one under ``configs`` or of a shipped one.
        rows: names of configurations; their teachers join them. None for all.
        seeds: how many, from ``seed`` up (0 where the configurations or overrides say nothing else).
        overrides: ``key=value`` for every row.

    Raises:
        UserError: no such folder or row, a bad configuration, two that would be kept in one folder, or an override
            that would not reach the teachers.
    """

    def __init__(
        self, dataset: str, rows: Sequence[str] | None = None, seeds: int = 1, overrides: Sequence[str] = ()
    ) -> None:
        check_overrides(overrides)
        folder = folder_of(dataset)
        paths = [folder / f"{name}.yaml" for name in rows] if rows is not None else rows_of(folder)
        if not paths:
            other = f", or configs/{dataset} for the shipped one" if shipped(dataset) else ""
            hint = f"give a folder of configurations{other}"
            raise UserError("holds no configuration of a row", file=folder, hint=hint)
        self.seeds = seeds_from(load(paths[0], overrides).seed, seeds)
        # every row for the first seed, then for the next
        super().__init__(Experiment(path, [*overrides, f"seed={seed}"]) for seed in self.seeds for path in paths)


def check_overrides(overrides: Iterable[str]) -> None:
    """Refuse overrides that would hold for a row and not for its teachers."""
    for override in overrides:
        if not shared([override]):
            key = override.partition("=")[0]
            hint = "write it into a configuration of its own, which is then another row"
            raise UserError("a teacher of a row would not take it over", file=COMMAND_LINE, key=key, hint=hint)


def seeds_from(first: int, count: int) -> list[int]:
    """As many seeds, from the first up.

    Raises:
        UserError: when there would be none.
    """
    if count < 1:
        raise UserError(f"{count} seeds", key="--seeds", hint="give 1 or more")
    return [*range(first, first + count)]


def folder_of(dataset: str) -> Path:
    """The folder of configurations that a path or name means; a path wins.

    Raises:
        UserError: when there is none.
    """
    own = Path("configs")
    for folder in (Path(dataset), own / dataset, shipped(dataset)):
        if folder and folder.is_dir():
            return folder
    known = sorted({path.name for path in own.glob("*/") if any(rows_of(path))} | {*folders()} - {"engine"})
    near = difflib.get_close_matches(dataset, known, 1) or known
    hint = f"did you mean {' or '.join(near)}?" if near else "give a folder of configurations"
    raise UserError("is not a folder of configurations", file=dataset, hint=hint)


def rows_of(folder: Path) -> list[Path]:
    """A folder's configurations that are rows."""
    rows = [path for path in folder.glob("*.yaml") if not path.stem.startswith(NO_ROWS)]
    return sorted(rows, key=lambda path: path.stem)


def state(cell: Experiment) -> str:
    """How far a cell is, by what stands in its folder; where that is of other settings, it cannot be run there."""
    try:
        check_configuration(cell)
    except UserError:
        return OTHER
    if (cell.folder / NAME).exists():
        return FINISHED
    begun = checkpoint.newest(cell.checkpoints) or checkpoint.exported(cell.checkpoints / "last")
    return INTERRUPTED if begun else PENDING


def samples(cell: Experiment) -> str:
    """How many samples a cell's training sees; of epochs, which depend on the data, how many."""
    train = cell.config.train
    return f"{train.epochs} epochs" if train.steps is None else f"{train.steps * train.global_batch_size:,}"


def _with_teachers(experiment: Experiment, seen: dict[Path, Experiment]) -> Iterator[Experiment]:
    """A row after its teachers, as far as none of them was seen.

    Raises:
        UserError: when another run has the folder of one of them.
    """
    for each in networks(experiment):
        known = seen.setdefault(each.folder, each)
        if known is each:
            yield each
        elif decisive(to_dict(known.config)) != decisive(to_dict(each.config)):
            if known.path == each.path:
                what = f"two runs of other settings would both be kept in {each.folder}"
                hint = "leave it out: by itself it names the experiment and the seed"
                raise UserError(what, file=each.path, key="run.path", hint=hint)
            what = f"has the name of {known.path}, and so would be the same run"
            hint = "give it another, or leave it away to have the file's"
            raise UserError(what, file=each.path, key="experiment", hint=hint)


def _run(cell: Experiment) -> str | None:
    """Run a cell; why it failed, if it did."""
    try:
        run(cell)
    except (Interrupted, LostRank):
        raise
    except Exception as error:
        if ranks() > 1:  # the others may not have met it, and wait
            raise
        if not isinstance(error, UserError):
            traceback.print_exc()
        return str(error) or type(error).__name__
    return None
