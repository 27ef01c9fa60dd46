"""The configurations that ship with Tutelage, which are found by name: ``nyudv2/ummt-ps``.

They are in ``configs``, beside the packages, both in a clone and in an installation. A path takes precedence over a
name: a file ``nyudv2/ummt-ps`` in the working directory hides the shipped one.
"""

import difflib
from pathlib import Path, PurePath

from shards.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
"""Root of a clone, or the folder where packages are installed."""
CONFIGS = ROOT / "configs"


def names() -> list[str]:
    """Return the names of all shipped files, including those that others inherit and accelerate's (``engine/ddp``)."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("*/*.yaml"))


def folders() -> list[str]:
    """Return the folders that the names begin with."""
    return list(dict.fromkeys(name.partition("/")[0] for name in names()))


def shipped(name: str | PurePath) -> Path | None:
    """Return the path of a shipped file or folder; None if there is none of this name.

    Args:
        name: ``nyudv2/ummt-ps`` or ``nyudv2``, also as a path in a clone, ``configs/nyudv2/ummt-ps.yaml``.

    Returns:
        Its path, relative to the working directory where that holds ``configs``.
    """
    parts = PurePath(name).parts
    key = "/".join(parts[1:] if parts[:1] == (CONFIGS.name,) else parts)
    paths = {file: f"{file}.yaml" for file in names()} | {folder: folder for folder in folders()}
    paths |= {f"engine/{path.name}": f"engine/{path.name}" for path in (CONFIGS / "engine").glob("*.json")}
    if (file := paths.get(key.removesuffix(".yaml"))) is None:
        return None
    return Path(CONFIGS.name, file) if Path.cwd() == ROOT else CONFIGS / file


def resolve(config: str | PurePath, folder: Path = Path()) -> Path:
    """Resolve the path or the name of a configuration.

    Args:
        config: the path, or the name of a shipped one.
        folder: the folder that a path is relative to.

    Returns:
        The path if it exists; else the path of the shipped file; else the path that does not exist.
    """
    path = folder / config
    return path if path.exists() else shipped(config) or path


def find(config: str | PurePath, folder: Path = Path()) -> Path:
    """Return the file that the path or the name of a configuration refers to.

    Raises:
        UserError: when there is no such file, with the closest matches.
    """
    path = resolve(config, folder)
    if path.is_dir():
        rows = sorted(path.glob("*.yaml"))
        hint = f"name one of its configurations, such as {spelling(rows[-1])}" if rows else "name a configuration"
        raise UserError("is a folder", file=folder / config, hint=hint)
    if path.exists():
        return path
    stems = [file.stem for file in path.parent.glob("*.yaml")]
    matches = [str(path.parent / f"{name}.yaml") for name in difflib.get_close_matches(path.stem, stems, 1, cutoff=0.7)]
    matches += difflib.get_close_matches(str(config).removesuffix(".yaml"), names(), 1)
    hint = "give the path of a configuration, or the name of a shipped one (`tutelage config --list`)"
    raise UserError("does not exist", file=path, hint=f"did you mean {' or '.join(matches)}?" if matches else hint)


def spelling(path: Path) -> str:
    """Return how to name a file in a command: the name of a shipped file outside a clone, or else its path."""
    name = f"{path.parent.name}/{path.stem}"
    return name if path.is_absolute() and path.parent.parent == CONFIGS and resolve(name) == path else str(path)
