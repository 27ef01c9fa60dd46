"""``tutelage init FOLDER``: a project of one's own to start from, which needs nothing but an installed Tutelage.

FOLDER/
  README.md          the commands, in order
  frames/            dataset.yaml, and rgb/, semseg/, depth/ for the raw frames
  configs/           base.yaml, teacher.yaml, student.yaml, baseline.yaml, which inherit the shipped ``folder``
  slurm/             the job scripts, with these configurations as their defaults
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from shards.atomic import atomic_file, disk_errors
from shards.codec import key_of
from shards.errors import UserError
from trainer.progress import say
from trainer.shipped import ROOT, folders

TEMPLATES = Path(__file__).parent / "project"
PLACES = {
    "README.md": "README.md",
    "dataset.yaml": "frames/dataset.yaml",
    **{f"{name}.yaml": f"configs/{name}.yaml" for name in ("base", "teacher", "student", "baseline")},
}
"""Where the files of :data:`TEMPLATES` are written."""
RAW = ("rgb", "semseg", "depth")
IN_SCRIPTS = {
    "configs/cityscapes/mmmt-d.yaml": "configs/teacher.yaml",
    "configs/cityscapes/ummt-ps.yaml": "configs/student.yaml",
    'folder "${RAW:-$name}"': 'folder "${RAW:-frames}"',
    "default: downloads/DATASET": "default: frames",
    "docs/cluster.md says more.": "README.md says more.",
}
"""What stands in the scripts of slurm/, and what in those of a project."""


def init(options: argparse.Namespace) -> None:
    folder = Path(options.folder)
    if folder.exists() and not folder.is_dir():
        raise UserError("is a file", file=folder, hint="give a folder")
    name, classes = _name(folder, options.name), _classes(options.classes)
    written, kept = [], []
    with disk_errors(folder):
        for raw in RAW:
            (folder / "frames" / raw).mkdir(parents=True, exist_ok=True)
        for place, text, executable in files(name, classes):
            path = folder / place
            if os.path.lexists(path):
                kept.append(path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as file:
                file.write(text.encode())
            if executable:
                path.chmod(0o755)
            written.append(path)
    for path in kept:
        say(f"left as it was: {path}")
    say(f"{folder}: wrote {len(written)} files")
    images = folder / "frames" / "rgb"
    say(f"next: put images into {images}, and label images of the same names into semseg and depth beside it")
    say(f"then: say in {folder / 'frames/dataset.yaml'} what the numbers in the label images mean")
    say(f"then: cd {folder}, and what README.md there says: tutelage prepare folder frames data/{name} --size 240x320")


def files(name: str, classes: list[str]) -> Iterator[tuple[str, str, bool]]:
    """A project's files.

    Args:
        name: of the data set.
        classes: of the segmentation.

    Yields:
        Path within the project, text, and whether it is to be executed.
    """
    values = {"name": name, "quoted": _yaml(name), "classes": _yaml(classes)}
    for template, place in PLACES.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace("{{" + key + "}}", value)
        yield place, text, False
    for path in [*sorted((ROOT / "slurm").glob("*.sh")), ROOT / "slurm" / "site.env.example"]:
        text = path.read_text(encoding="utf-8")
        for shipped, own in IN_SCRIPTS.items():
            text = text.replace(shipped, own)
        yield f"slurm/{path.name}", text, path.suffix == ".sh"


def _yaml(value: Any) -> str:
    """A value on one line, in quotes where it would read as something else, as ``no`` would."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).splitlines()[0]


def _name(folder: Path, given: str | None) -> str:
    """The data set's name."""
    name = key_of(folder.resolve().name) if given is None else given
    if not name or key_of(name) != name:
        raise UserError(f"{name!r}", key="--name", hint="use letters, digits, _ and - only")
    if name in folders():
        raise UserError(f"{name} is the name of shipped configurations", key="--name", hint="give another")
    return name


def _classes(text: str) -> list[str]:
    """The classes of the segmentation, in the order of their numbers."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len({*names}) < len(names):
        raise UserError(f"{text!r}", key="--classes", hint="give their names, each once: floor,wall,shelf")
    return names
