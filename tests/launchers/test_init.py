"""``tutelage init``: a project that works as it is written, from raw frames to predictions."""

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml
from ownframes import write_frames
from PIL import Image

from analysis.grid import Grid
from launchers.cli import main
from launchers.init import IN_SCRIPTS, TEMPLATES
from shards.manifest import Manifest
from shards.sources.folder import Folder
from trainer.configfile import load
from trainer.shipped import ROOT

TINY = [
    "train.epochs=1",
    "train.global_batch_size=2",
    "model.backbone=test_efficientnet",
    "model.widths=[8,8,16,16]",
    "model.pretrained=false",
]
SMALL = {
    "prepare": ["--size", "32x64", "--jobs", "1"],
    "run": [*TINY, "data.num_workers=0"],
    "report": ["--frames", "1"],
}
"""Options added to the commands of a README, by command."""


def commands(readme: Path) -> list[str]:
    """The commands of a README's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_a_project_goes_from_raw_frames_to_predictions_as_its_readme_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "robot", "--name", "warehouse", "--classes", "floor, wall,no"]) == 0
    output = capsys.readouterr().out
    assert "robot: wrote 14 files" in output and "cd robot" in output
    assert "prepare folder frames data/warehouse" in output
    monkeypatch.chdir("robot")
    write_frames(Path("frames"), classes=3)
    executed_commands = set()
    for command in commands(Path("README.md")):
        words = shlex.split(command)
        if words[0] != "tutelage":
            continue
        assert main([*words[1:], *SMALL.get(words[1], [])]) == 0, command
        executed_commands.add(words[1])
    assert executed_commands == {"prepare", "inspect", "run", "table", "report", "predict"}
    assert "student − baseline" in capsys.readouterr().out
    manifest = Manifest.load("data/warehouse")
    assert manifest.name == "warehouse" and manifest.task("semseg").classes == ("floor", "wall", "no")
    assert {path.name for path in Path("runs/warehouse").iterdir()} == {"teacher", "student", "baseline"}
    assert len(list(Path("predictions/semseg").iterdir())) == 15 and Image.open("predictions.png").width > 100


def test_what_is_there_is_never_written_over(tmp_path, capsys):
    folder = tmp_path / "robot"
    (folder / "configs").mkdir(parents=True)
    (folder / "README.md").write_text("mine")
    (folder / "configs/student.yaml").symlink_to("nowhere")
    for written_count, kept_count in ((12, 2), (0, 14)):
        assert main(["init", str(folder), "--name", "other"]) == 0
        output = "".join(capsys.readouterr().out)
        assert f"wrote {written_count} files" in output and output.count("left as it was: ") == kept_count
    assert (folder / "README.md").read_text() == "mine" and (folder / "configs/student.yaml").is_symlink()
    assert yaml.safe_load((folder / "configs/base.yaml").read_text())["data"]["name"] == "other"


def test_configurations_inherit_the_shipped_recipe_and_name_their_own_teacher(tmp_path, monkeypatch):
    assert main(["init", str(tmp_path / "123")]) == 0  # a name that YAML would take for a number
    monkeypatch.chdir(tmp_path / "123")
    student, shipped = load("configs/student.yaml"), load("folder/ummt-ps")
    assert student.data.name == "123" and student.data.path == "data/123"
    assert student.model == shipped.model and student.pseudo.semseg.target == shipped.pseudo.semseg.target == "soft"
    assert student.pseudo.semseg.teacher == "configs/teacher.yaml"
    teacher = load("configs/teacher.yaml")
    assert list(teacher.inputs) == ["rgb", "depth"] and teacher.experiment == "teacher"
    assert not load("configs/baseline.yaml").pseudo
    write_frames(Path("frames"), classes=4)
    assert Folder("frames").name == "123"


def test_every_network_of_a_project_is_a_row_of_its_grid(tmp_path, monkeypatch):
    assert main(["init", str(tmp_path / "robot")]) == 0
    monkeypatch.chdir(tmp_path / "robot")
    grid = Grid("configs")
    assert [cell.config.experiment for cell in grid.cells] == ["baseline", "teacher", "student"]


def test_scripts_are_the_shipped_ones_for_these_configurations(tmp_path):
    assert main(["init", str(tmp_path / "p")]) == 0
    scripts = {path.name: path.read_text() for path in (tmp_path / "p/slurm").iterdir()}
    shipped = {path.name: path.read_text() for path in (ROOT / "slurm").iterdir() if path.name != "site.env"}
    assert scripts.keys() == shipped.keys()
    shipped_text = "".join(shipped.values())
    assert all(text in shipped_text for text in IN_SCRIPTS), "it is worded otherwise now"
    for name, text in scripts.items():
        assert "configs/cityscapes" not in text and "docs/" not in text
        assert os.access(tmp_path / "p/slurm" / name, os.X_OK) == name.endswith(".sh")
    assert "arguments configs/teacher.yaml" in scripts["teacher.sh"]


def test_no_template_is_forgotten(tmp_path):
    assert main(["init", str(tmp_path / "p")]) == 0
    written = [path for path in (tmp_path / "p").rglob("*") if path.is_file() and path.parent.name != "slurm"]
    assert len(written) == len(list(TEMPLATES.iterdir()))
    assert not [path for path in written if "{{" in path.read_text()]


@pytest.mark.parametrize(
    ("options", "said"),
    {
        "p --name a/b": "--name: 'a/b'; use letters, digits, _ and - only",
        "p --name nyudv2": "--name: nyudv2 is the name of shipped configurations; give another",
        "p --classes a,,b": "--classes: 'a,,b'; give their names, each once",
        "file": "file: is a file; give a folder",
    }.items(),
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["init", *options.split()]) == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
