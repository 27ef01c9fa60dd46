"""The configurations that come with Tutelage, which are found by name: ``nyudv2/ummt-ps``.

They lie in ``configs``, which stands beside the packages in a clone and where Tutelage is installed alike. Wherever a
configuration is named a path wins: a file ``nyudv2/ummt-ps`` of the working directory hides the shipped one.
"""

import difflib
from pathlib import Path, PurePath

from shards.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
"""Of a clone, or where packages are installed."""
CONFIGS = ROOT / "configs"


def names() -> list[str]:
    """The shipped files by name, also those that others inherit and accelerate's (``engine/ddp``)."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("*/*.yaml"))


def folders() -> list[str]:
    """The folders that the names begin with."""
    return list(dict.fromkeys(name.partition("/")[0] for name in names()))


def shipped(name: str | PurePath) -> Path | None:
    """A shipped file or folder, if there is one of this name.

    Args:
        name: ``nyudv2/ummt-ps`` or ``nyudv2``, also as a path in a clone, ``configs/nyudv2/ummt-ps.yaml``.

    Returns:
        Its path, relative to the working directory where that holds ``configs``.
    """
    parts = PurePath(name).parts
    key = "/".join(parts[1:] if parts[:1] == (CONFIGS.name,) else parts)
    known = {each: f"{each}.yaml" for each in names()} | {each: each for each in folders()}
    known |= {f"engine/{path.name}": f"engine/{path.name}" for path in (CONFIGS / "engine").glob("*.json")}
    if (file := known.get(key.removesuffix(".yaml"))) is None:
        return None
    return Path(CONFIGS.name, file) if Path.cwd() == ROOT else CONFIGS / file


def resolve(config: str | PurePath, folder: Path = Path()) -> Path:
    """What the path or the name of a configuration means.

    Args:
        folder: what a path is relative to.

    Returns:
        The path of what exists there; else of the shipped file; else of what does not exist.
    """
    path = folder / config
    return path if path.exists() else shipped(config) or path


def find(config: str | PurePath, folder: Path = Path()) -> Path:
    """The file that the path or the name of a configuration means.

    Raises:
        UserError: where there is no such file, with what is nearest to it.
    """
    path = resolve(config, folder)
    if path.is_dir():
        rows = sorted(path.glob("*.yaml"))
        hint = f"name one of its configurations, such as {spelling(rows[-1])}" if rows else "name a configuration"
        raise UserError("is a folder", file=folder / config, hint=hint)
    if path.exists():
        return path
    files = [each.stem for each in path.parent.glob("*.yaml")]
    near = [str(path.parent / f"{name}.yaml") for name in difflib.get_close_matches(path.stem, files, 1, cutoff=0.7)]
    near += difflib.get_close_matches(str(config).removesuffix(".yaml"), names(), 1)
    known = "give the path of a configuration, or the name of a shipped one (`tutelage config --list`)"
    raise UserError("does not exist", file=path, hint=f"did you mean {' or '.join(near)}?" if near else known)


def spelling(path: Path) -> str:
    """What to type for a file: the name of a shipped one that lies elsewhere, or else its path."""
    name = f"{path.parent.name}/{path.stem}"
    return name if path.is_absolute() and path.parent.parent == CONFIGS and resolve(name) == path else str(path)
