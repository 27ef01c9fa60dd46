"""A whole table: every row of a folder of configurations, for several seeds.

A row is an experiment. A row that teaches others is trained once, before its students. Finished runs are kept and
interrupted ones continue (:mod:`trainer.stages`), so a grid can be stopped and started again.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shards.errors import UserError
from shards.log import logger
from trainer.configfile import load, shared_overrides, to_dict
from trainer.configvalues import COMMAND_LINE
from trainer.experiment import Experiment
from trainer.pipeline import networks, teachers_of
from trainer.ranks import ranks
from trainer.runs import artifacts
from trainer.runs.folder import other_data, other_settings
from trainer.runs.result import NAME
from trainer.runs.status import FINISHED, INTERRUPTED, OTHER, OTHER_DATA, PENDING, Interrupted, LostRank
from trainer.setting import decisive
from trainer.shipped import folders, shipped

NO_ROWS = ("base", "pretrain")
"""Names of configurations that are not rows: these, and names that begin with one of them and a hyphen, like
``base-l``. A ``baseline`` is a row."""


class Cells:
    """Experiments to run one after another, each after its teachers, which are added to the list.

    Args:
        experiments: in the order in which they are run; one that occurs twice is run once.

    Raises:
        UserError: a bad configuration of a teacher, or two experiments that would share a folder.
    """

    def __init__(self, experiments: Iterable[Experiment]) -> None:
        seen: dict[Path, Experiment] = {}
        self.cells = [cell for experiment in experiments for cell in _with_teachers(experiment, seen)]

    def name(self, cell: Experiment) -> str:
        """Return the display name of a cell: its experiment and seed."""
        return f"{cell.config.experiment}, seed {cell.config.seed}"

    def teachers(self, cell: Experiment) -> list[Experiment]:
        """Return the cells that are teachers of a cell."""
        folders = {teacher.folder for teacher in teachers_of(cell)}
        return [other for other in self.cells if other.folder in folders]

    def run(self) -> dict[Path, str]:
        """Run every cell. A failure is reported and its students are skipped; the other cells are run.

        Returns:
            The reason of each failure, by the cell's folder.

        Raises:
            UserError: when one reason keeps every cell from running, such as missing data.
            Interrupted: when a signal asks for a stop; started again, the grid continues.
        """
        from trainer.stages import check  # which imports torch, unlike a plan

        failed: dict[Path, str] = {}
        for cell in self.cells:
            try:
                check(cell)
            except UserError as error:  # report it now rather than after hours of training
                failed[cell.folder] = str(error)
                if len(failed) == len(self.cells) and len(set(failed.values())) == 1:
                    raise
        for reason in dict.fromkeys(failed.values()):
            names = (self.name(cell) for cell in self.cells if failed.get(cell.folder) == reason)
            logger.error(f"{'; '.join(names)} cannot be run: {reason}")
        for number, cell in enumerate(self.cells, 1):
            if cell.folder in failed:
                continue
            logger.info(f"\n{number} of {len(self.cells)}: {self.name(cell)}")
            failed_teachers = [self.name(teacher) for teacher in self.teachers(cell) if teacher.folder in failed]
            failure = UserError(f"its teacher failed ({', '.join(failed_teachers)})") if failed_teachers else _run(cell)
            if failure:
                failed[cell.folder] = str(failure) or type(failure).__name__
                unexpected = None if isinstance(failure, UserError) else failure
                logger.error(f"{self.name(cell)} failed: {failed[cell.folder]}", exc_info=unexpected)
        return failed


class Grid(Cells):
    """The rows of a table for several seeds, teachers before their students.

    Args:
        dataset: the path of a folder of configurations, or the name of one under ``configs`` or of a shipped one.
        rows: names of configurations; their teachers are added. None for all.
        seeds: number of seeds, counted up from ``seed`` (by default 0).
        overrides: ``key=value`` for every row.

    Raises:
        UserError: no such folder or row, a bad configuration, two runs that would share a folder, or an override that
            would not reach the teachers.
    """

    def __init__(
        self, dataset: str, rows: Sequence[str] | None = None, seeds: int = 1, overrides: Sequence[str] = ()
    ) -> None:
        check_overrides(overrides)
        folder = folder_of(dataset)
        paths = [folder / f"{name}.yaml" for name in rows] if rows is not None else rows_of(folder)
        if not paths:
            shipped_hint = f", or configs/{dataset} for the shipped one" if shipped(dataset) else ""
            hint = f"give a folder of configurations{shipped_hint}"
            raise UserError("holds no configuration of a row", file=folder, hint=hint)
        self.seeds = seeds_from(load(paths[0], overrides).seed, seeds)
        # every row for the first seed, then for the next
        super().__init__(Experiment(path, [*overrides, f"seed={seed}"]) for seed in self.seeds for path in paths)


def check_overrides(overrides: Iterable[str]) -> None:
    """Raise a UserError for an override that would apply to a row but not to its teachers."""
    for override in overrides:
        if not shared_overrides([override]):
            key = override.partition("=")[0]
            hint = "write it into a separate configuration, which is then another row"
            raise UserError("a teacher of a row would not inherit it", file=COMMAND_LINE, key=key, hint=hint)


def seeds_from(first: int, count: int) -> list[int]:
    """Return ``count`` consecutive seeds from ``first`` on.

    Raises:
        UserError: when ``count`` is less than 1.
    """
    if count < 1:
        raise UserError(f"{count} seeds", key="--seeds", hint="give 1 or more")
    return [*range(first, first + count)]


def folder_of(dataset: str) -> Path:
    """Resolve a path or a name to a folder of configurations; a path takes precedence.

    Raises:
        UserError: when there is none.
    """
    local = Path("configs")
    for folder in (Path(dataset), local / dataset, shipped(dataset)):
        if folder and folder.is_dir():
            return folder
    names = sorted({path.name for path in local.glob("*/") if any(rows_of(path))} | {*folders()} - {"engine"})
    candidates = difflib.get_close_matches(dataset, names, 1) or names
    hint = f"did you mean {' or '.join(candidates)}?" if candidates else "give a folder of configurations"
    raise UserError("is not a folder of configurations", file=dataset, hint=hint)


def rows_of(folder: Path) -> list[Path]:
    """Return the configurations in a folder that are rows, sorted by name."""
    prefixes = tuple(f"{name}-" for name in NO_ROWS)
    names = {path.stem: path for path in folder.glob("*.yaml")}
    return [names[name] for name in sorted(names) if name not in NO_ROWS and not name.startswith(prefixes)]


def state(cell: Experiment) -> str:
    """Return the state of a cell from the contents of its folder: ``OTHER`` if that holds a run of other settings,
    ``OTHER_DATA`` for one on other data. Without the data set, which a plan does not need, the data are not compared.
    """
    if other_settings(cell):
        return OTHER
    finished = (cell.folder / NAME).exists()
    started = artifacts.newest(cell.checkpoints) or artifacts.read_exported(cell.checkpoints / "last")
    if not (finished or started):
        return PENDING
    if other_data(cell):
        return OTHER_DATA
    return FINISHED if finished else INTERRUPTED


def samples(cell: Experiment) -> str:
    """Return the number of samples that training sees, or of epochs, whose samples depend on the data."""
    train = cell.config.train
    return f"{train.epochs} epochs" if train.steps is None else f"{train.steps * train.global_batch_size:,}"


def _with_teachers(experiment: Experiment, seen: dict[Path, Experiment]) -> Iterator[Experiment]:
    """Yield the teachers of a row, then the row, without those in ``seen``, to which they are added.

    Raises:
        UserError: when one of them would share its folder with another run.
    """
    for network in networks(experiment):
        previous = seen.setdefault(network.folder, network)
        if previous is network:
            yield network
        elif decisive(to_dict(previous.config)) != decisive(to_dict(network.config)):
            if previous.path == network.path:
                message = f"two runs of different settings would share {network.folder}"
                hint = "leave it out: by default it contains the experiment and the seed"
                raise UserError(message, file=network.path, key="run.path", hint=hint)
            message = f"has the name of {previous.path}, and so would be the same run"
            hint = "give it another, or leave it out to use the file's name"
            raise UserError(message, file=network.path, key="experiment", hint=hint)


def _run(cell: Experiment) -> Exception | None:
    """Run a cell. Return its error if it failed, else None."""
    from trainer.stages import run  # which imports torch

    try:
        run(cell)
    except (Interrupted, LostRank):
        raise
    except Exception as error:
        if ranks() > 1:  # other ranks may not have raised it and would wait forever
            raise
        return error
    return None
