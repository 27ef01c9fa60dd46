"""The commands of the README and the docs, parsed from their fenced blocks and executed in order at a tiny size."""

import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml
from ownframes import write_frames
from PIL import Image
from stores import S3, Web
from warm import python

from launchers.cli import main, parse
from shards.pack import pack
from shards.sources.scenes import Scenes
from trainer.configfile import load
from trainer.shipped import find, names

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")])
SIZE = (32, 64)
TINY = [
    "train.steps=2",
    "model.backbone=test_efficientnet",
    "model.widths=[8,8,16,16]",
    "model.pretrained=false",
    "data.num_workers=0",
]
TINY += ["train.global_batch_size=2", "labels.semseg=4", "labels.depth=10", "frames=null", "val=null", "data.crop=null"]
CANNOT_RUN = {
    "make": "installs, or is the test suite itself",
    "pip": "installs",
    "git": "needs the network",
    "sbatch": "needs a cluster (tests/cluster)",
    "slurm/pipeline.sh": "needs a cluster (tests/cluster)",
    "docs/results": "takes hours on real data, and stands there as the record of what was run",
    "cityscapes": "needs the Cityscapes download",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The commands of a page's shell blocks, continuation lines joined."""
    shell_commands = []
    for language, text in blocks(page):
        lines = text.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        if language in ("sh", "bash", "console"):
            shell_commands += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return shell_commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_shell_block_is_marked_as_one(page):
    languages = {language for language, _ in blocks(page)}
    assert languages <= {"sh", "console", "yaml", "toml", "text", "python", "json"}
    opened = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("```")]
    assert len(opened) == 2 * len(blocks(page)), "a fenced block has no language, so its commands are not tested"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page):
    for command in commands(page):
        words = shlex.split(command, comments=True)
        if "tutelage" in words[1:]:
            parse(words[words.index("tutelage", 1) + 1 :])
        elif words[0] == "tutelage":
            parse(words[1:])


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_run(page, tmp_path, monkeypatch, capsys):
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(clone)
    runnable = []
    for command in commands(page):
        if reason := skip_reason(page, command):
            with capsys.disabled():
                print(f"\n{page.name}: not run: {command} ({reason})")
        else:
            runnable.append(command)
    if not runnable:
        pytest.skip("no command of this page can run here")
    all_commands = "\n".join(runnable)
    if "scenes" in all_commands and "prepare scenes" not in all_commands:
        pack(Scenes(12, 4, SIZE), Path("data/scenes"), size=SIZE)
    if "warehouse" in all_commands:
        own_frames(clone / "warehouse")
    if "nyudv2" in all_commands:
        script = [sys.executable, str(Path(os.environ["TUTELAGE_NYUDV2"]) / "build_official_mat.py"), "--frames", "12"]
        subprocess.run([*script, str(clone / "downloads" / "nyudv2")], check=True, capture_output=True)
    if "photos" in all_commands:
        Path("photos").mkdir()
        Image.fromarray(np.asarray(Scenes(1, 0, SIZE).load("train", 0).rgb)).save("photos/room.png")
    with ExitStack() as stack:
        if "data.example.org" in all_commands:
            pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
            server = stack.enter_context(Web(Path("data/scenes").resolve(), tmp_path / "control.json"))
            runnable = [command.replace("https://data.example.org/scenes", server.url) for command in runnable]
            monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
        if "s3://bucket" in all_commands:
            pytest.importorskip("moto", reason="the extra `test` is not installed")
            bucket = stack.enter_context(S3())
            bucket.copy(Path("data/scenes"), "scenes")
            for name, value in bucket.environment.items():
                monkeypatch.setenv(name, value)
        for command in runnable:
            execute(command)
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text.replace("96, 128", "{}, {}".format(*SIZE)), str(page), "exec"), {})


def skip_reason(page: Path, command: str) -> str | None:
    if page.is_relative_to(ROOT / "docs" / "results"):
        return CANNOT_RUN["docs/results"]
    word = command.split()[0]
    if word in CANNOT_RUN:
        return CANNOT_RUN[word]
    if "--sbatch" in command:
        return CANNOT_RUN["sbatch"]
    if "cityscapes" in command:
        return CANNOT_RUN["cityscapes"]
    if "nyudv2" in command and "TUTELAGE_NYUDV2" not in os.environ:
        return "needs the NYUDv2 download (TUTELAGE_NYUDV2 is unset)"
    return None


def execute(command: str) -> None:
    words = [
        str(find(match[1])) if (match := re.fullmatch(r"\$\(tutelage config --path (\S+)\)", word)) else word
        for word in shlex.split(command, comments=True)
    ]
    if words[0] in ("accelerate", "python"):
        if words[0] == "accelerate":  # launcher and ranks are forked
            index = words.index("-m")
            words = [
                python(),
                "-m",
                "accelerate.commands.launch",
                *words[2:index],
                "--no_python",
                python(),
                *words[index:],
            ]
        else:
            words[0] = python()
        if "--rounds" in words:  # the number of timed repetitions
            index = words.index("--rounds") + 1
            words[index] = str(min(1, int(words[index])))
        if "benchmarks.backbones" in words:  # two backbones at a small size, not all at full size
            words += ["--size", "64x96", "--", "mobilenetv3_small_050", "resnet18"]
        words += TINY if any(map(is_config, words[-words[::-1].index("-m") :])) else []
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        process = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280)
        assert process.returncode == 0, process.stderr[-3000:]
        return
    if words[0] == "cd":
        os.chdir(words[1])  # undone by the test's fixture
        return
    assert words[0] == "tutelage", f"no way to test {words[0]}"
    if words[1] == "prepare":
        words += ["--jobs", "1", "--size", "x".join(map(str, SIZE))]
        words += ["--train", "12", "--val", "4"] if words[2] == "scenes" else []
    elif words[1] == "grid":
        words += ["--rows", "ummt,ummt-ps", "--seeds", "1", *TINY]
    elif words[1] == "affinity":
        words += ["--seeds", "1", *TINY, "labels.normals=4"]
    elif words[1] == "curve":
        words[words.index("--labels") + 1] = "2,4"
        words += ["--seeds", "1", *(override for override in TINY if not override.startswith("labels.semseg"))]
    elif configs := [word for word in words if is_config(word)]:
        words += TINY
        words += ["labels.normals=4"] if "normals" in load(configs[0]).tasks else []
    assert main(words[1:]) == 0, command
    if words[1] == "init":
        write_frames(Path(words[2]) / "frames", classes=4, size=SIZE)


def is_config(word: str) -> bool:
    """Whether a word of a command names a configuration."""
    return word.endswith(".yaml") or word in names()


def own_frames(folder: Path) -> None:
    """Write raw frames to the folder that the README uses as the example of a user's own data."""
    declaration = next(text for _, text in blocks(ROOT / "README.md") if text.startswith("# warehouse/dataset.yaml"))
    classes = len(yaml.safe_load(declaration)["tasks"]["semseg"]["classes"])
    write_frames(folder, classes, SIZE)
    (folder / "dataset.yaml").write_text(declaration)
