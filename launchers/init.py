"""``tutelage init FOLDER``: create a new project, which needs only an installed Tutelage.

FOLDER/
  README.md          the commands in their order
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

from launchers.console import print_line
from shards.atomic import atomic_file, disk_errors
from shards.codec import key_of
from shards.errors import UserError
from trainer.shipped import ROOT, folders

TEMPLATES = Path(__file__).parent / "project"
DESTINATIONS = {
    "README.md": "README.md",
    "dataset.yaml": "frames/dataset.yaml",
    **{f"{name}.yaml": f"configs/{name}.yaml" for name in ("base", "teacher", "student", "baseline")},
}
"""Destinations of the files of :data:`TEMPLATES`."""
RAW_FOLDERS = ("rgb", "semseg", "depth")
IN_SCRIPTS = {
    "configs/cityscapes/mmmt-d.yaml": "configs/teacher.yaml",
    "configs/cityscapes/ummt-ps.yaml": "configs/student.yaml",
    'folder "${RAW:-$name}"': 'folder "${RAW:-frames}"',
    "default: downloads/DATASET": "default: frames",
    "docs/cluster.md says more.": "README.md says more.",
}
"""Replacements in the scripts of slurm/ for those of a project."""


def init(options: argparse.Namespace) -> None:
    folder = Path(options.folder)
    if folder.exists() and not folder.is_dir():
        raise UserError("is a file", file=folder, hint="give a folder")
    name, classes = _parse_name(folder, options.name), _parse_classes(options.classes)
    written, skipped = [], []
    with disk_errors(folder):
        for subfolder in RAW_FOLDERS:
            (folder / "frames" / subfolder).mkdir(parents=True, exist_ok=True)
        for relative_path, text, executable in files(name, classes):
            path = folder / relative_path
            if os.path.lexists(path):
                skipped.append(path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as file:
                file.write(text.encode())
            if executable:
                path.chmod(0o755)
            written.append(path)
    for path in skipped:
        print_line(f"left as it was: {path}")
    print_line(f"{folder}: wrote {len(written)} files")
    images = folder / "frames" / "rgb"
    print_line(f"next: put images into {images}, and label images of the same names into semseg and depth beside it")
    print_line(f"then: define in {folder / 'frames/dataset.yaml'} the meaning of the numbers in the label images")
    print_line(
        f"then: cd {folder}, and follow README.md there: tutelage prepare folder frames data/{name} --size 240x320"
    )


def files(name: str, classes: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Generate the files of a project.

    Args:
        name: name of the data set.
        classes: classes of the segmentation.

    Yields:
        Path within the project, text, and whether the file is executable.
    """
    values = {"name": name, "quoted": _to_yaml(name), "classes": _to_yaml(classes)}
    for template, relative_path in DESTINATIONS.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace("{{" + key + "}}", value)
        yield relative_path, text, False
    for path in [*sorted((ROOT / "slurm").glob("*.sh")), ROOT / "slurm" / "site.env.example"]:
        text = path.read_text(encoding="utf-8")
        for shipped, replacement in IN_SCRIPTS.items():
            text = text.replace(shipped, replacement)
        yield f"slurm/{path.name}", text, path.suffix == ".sh"


def _to_yaml(value: Any) -> str:
    """Return the YAML of a value on one line, quoted if it would otherwise be read as another type, as ``no`` would."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).splitlines()[0]


def _parse_name(folder: Path, option: str | None) -> str:
    """Return the data set's name, by default derived from the folder's."""
    name = key_of(folder.resolve().name) if option is None else option
    if not name or key_of(name) != name:
        raise UserError(f"{name!r}", key="--name", hint="use letters, digits, _ and - only")
    if name in folders():
        raise UserError(f"{name} is the name of shipped configurations", key="--name", hint="give another")
    return name


def _parse_classes(text: str) -> list[str]:
    """Parse the classes of the segmentation, in the order of their numbers."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len({*names}) < len(names):
        raise UserError(f"{text!r}", key="--classes", hint="give their names, each once: floor,wall,shelf")
    return names
