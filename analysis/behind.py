"""The runs behind label curves and task affinities, which tables and reports show only where they are named."""

from collections.abc import Sequence
from os.path import commonpath, relpath
from pathlib import Path

from analysis.curve.labelcurve import FILE as CURVE
from analysis.curve.labelcurve import read
from analysis.results.groups import result_files
from trainer.affinity import NAME as AFFINITY
from trainer.affinity import OLD_NAME, affinity_file


def affinity_files(path: Path) -> list[Path]:
    """Return the files of task affinities under a path, the newer one of each folder, or the path if it is one."""
    files = [*_files_named(path, AFFINITY), *_files_named(path, OLD_NAME)]
    return files if path in files else [file for file in files if file == affinity_file(file.parent)]


def curve_files(path: Path) -> list[Path]:
    """Return the files of label curves under a path, or the path if it is one."""
    return _files_named(path, CURVE)


def _files_named(path: Path, name: str) -> list[Path]:
    """Return the files with a name under a path, or the path if it is one."""
    return [path] if path.name == name else sorted(path.rglob(name))


def folders_behind(path: Path) -> dict[Path, list[Path]]:
    """Return the resolved folders of the runs behind every affinity and label curve under a path, by its file. Those of
    an affinity whose own folder is the path were asked for.

    Raises:
        UserError: when the file of a label curve is damaged.
    """
    folders = {file: [file.resolve().parent] for file in affinity_files(path) if file.parent != path}
    for file in curve_files(path):
        runs = read(file).facts.get("runs")
        entries = [run["folder"] for run in runs if "folder" in run] if isinstance(runs, list) else []
        folders[file] = [(file.parent / str(folder)).resolve() for folder in entries]
    return folders


def own_result_files(paths: Sequence[str | Path]) -> tuple[list[Path], list[str]]:
    """Return the results under some paths without those behind a label curve or affinity under the same path, unless
    there are no others.

    Returns:
        The files, as :func:`analysis.results.groups.result_files` does, and a note for each curve or affinity whose
        results were left out.

    Raises:
        UserError: when a path holds no result, or the file of a label curve is damaged.
    """
    files: dict[Path, None] = {}
    behind: dict[Path, set[Path]] = {}
    for path in map(Path, paths):
        found = result_files([path])
        sources = {
            source: {file for file in found if any(map(file.is_relative_to, folders))}
            for source, folders in folders_behind(path).items()
        }
        left_out = set().union(*sources.values())
        own = [file for file in found if file not in left_out]
        files |= dict.fromkeys(own or found)
        behind |= sources if own else {}
    left_out_by_source = {source: sorted(results - files.keys()) for source, results in behind.items()}
    return list(files), [_note(source, results) for source, results in left_out_by_source.items() if results]


def _note(source: Path, results: Sequence[Path]) -> str:
    """Return the note on the results behind a curve or affinity, with one of the folders that show them."""
    root = Path(commonpath([source.resolve(), results[0]]))
    folder = root / results[0].relative_to(root).parts[0]
    count = f"{len(results)} runs are" if len(results) > 1 else "one run is"
    return f"{source}: its {count} left out; name their folders to see them, such as {relpath(folder)}"
