"""The wheel, installed with what it requires and no extra, from folders that hold nothing: what a user of pip has."""

import ast
import importlib.metadata
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from installed import ROOT, Installed, build
from PIL import Image

from shards.pack import pack
from shards.sources.base import Frame
from shards.sources.scenes import Scenes
from trainer import shipped

pytestmark = pytest.mark.slow

pytest.importorskip("setuptools", reason="builds a wheel, which takes setuptools")
pytest.importorskip("pip", reason="installs a wheel, which takes pip")

TINY = [
    "train.steps=2",
    "train.global_batch_size=2",
    "model.backbone=test_efficientnet",
    "model.widths=[8,8,16,16]",
    "model.pretrained=false",
]
TINY += ["labels.semseg=4", "labels.depth=8", "data.num_workers=0", "evaluate.batch_size=2"]
FRAMES = ["--train", "8", "--val", "4", "--size", "32x64", "--jobs", "1"]


@pytest.fixture(scope="session")
def tutelage(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An installation of the wheel."""
    wheel = build(tmp_path_factory.mktemp("wheel"))
    return Installed.into(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture
def says(tutelage, tmp_path):
    """``says("config", "nyudv2/ummt-ps")``: what a command that succeeds prints, in this test's empty folder."""

    def run(*words: str, cwd: Path = tmp_path, **env: str) -> str:
        done = tutelage(*words, cwd=cwd, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def fails(tutelage, tmp_path):
    """``fails("report", ...)``: the one line of a command that fails."""

    def run(*words: str, **env: str) -> str:
        done = tutelage(*words, cwd=tmp_path, **env)
        assert done.returncode == 1, done.stdout
        (line,) = done.stderr.splitlines()
        return line

    return run


def files(folder: Path) -> set[Path]:
    """What a folder and those in it hold."""
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_nothing_of_the_clone_or_of_an_extra_is_there(tutelage):
    there = {path.name for path in tutelage.folder.iterdir()}
    assert {"configs", "slurm", "torch", "timm", "scipy"} <= there
    assert not there & {"tests", "docs", "deepspeed", "transformers", "h5py", "matplotlib", "contourpy", "tensorboard"}
    assert not (tutelage.folder / "slurm/site.env").exists()
    assert os.access(tutelage.folder / "slurm/pipeline.sh", os.X_OK)
    for name in ("configs", "slurm"):
        assert files(tutelage.folder / name) == files(ROOT / name) - {Path("site.env")}


def test_shipped_configurations_are_found_by_name(says, fails, tutelage):
    text = says("config", "nyudv2/ummt-ps")
    assert "path: runs/nyudv2/ummt-ps/seed-0" in text and "path: data/nyudv2" in text
    assert f"teacher: {tutelage.folder}/configs/nyudv2/mmmt-d.yaml" in text
    assert says("config", "configs/nyudv2/ummt-ps.yaml") == text, "as a clone's pages spell it"
    assert says("config", "--list").split() == shipped.names()
    assert says("config", "--path", "engine/ddp").strip() == f"{tutelage.folder}/configs/engine/ddp.yaml"
    assert fails("run", "nyudv2/umt-ps") == "tutelage: nyudv2/umt-ps: does not exist; did you mean nyudv2/ummt-ps?"
    assert "the name of a shipped one (`tutelage config --list`)" in fails("status", "quite/another")


def test_a_grid_is_found_by_name(says):
    said = says("grid", "scenes", "--dry-run", "--seeds", "1")
    assert all(f" {row} " in said for row in ("ummt-ps", "mmmt-d", "umst-s")) and said.count("pending") == 16


ROW = {
    "experiment": "ummt",
    "dataset": "nyudv2",
    "seed": 0,
    "inputs": ["rgb"],
    "tasks": ["semseg", "depth"],
    "labels": {"semseg": 250, "depth": 250},
    "pseudo_labels": {},
    "normalise": "labelled",
    "metrics": {"semseg": {"miou": 0.2}, "depth": {"rmse": 0.8}},
}


def test_tables_have_the_papers_columns(says, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(ROW))
    said = says("table", ".", "--format", "md")
    assert "paper mIoU" in said and "22.1" in said and "0.790" in said


def test_a_project_is_written_and_its_configurations_are_whole(says, tutelage, tmp_path):
    assert "robot: wrote 14 files" in says("init", "robot")
    assert os.access(tmp_path / "robot/slurm/pipeline.sh", os.X_OK)
    text = says("config", "configs/student.yaml", cwd=tmp_path / "robot")
    assert "path: data/robot" in text and "teacher: configs/teacher.yaml" in text and "decoder: heads" in text


def test_trains_labels_evaluates_and_compares_without_any_extra(says, fails, tmp_path):
    """The whole loop: what would be missed at its end is lost with all its work."""
    says("prepare", "scenes", "data/scenes", *FRAMES)
    assert "12 samples verified" in says("inspect", "data/scenes", "--verify")
    said = says("run", "scenes/ummt-ps", *TINY)
    assert "written: runs/scenes/ummt-ps/seed-0/result.json" in said
    result = json.loads((tmp_path / "runs/scenes/ummt-ps/seed-0/result.json").read_text())
    assert result["environment"]["deepspeed"] is None and result["environment"]["torch"]
    assert result["environment"]["tutelage"] == importlib.metadata.version("tutelage")
    assert result["command"] == ["tutelage", "run", "scenes/ummt-ps", *TINY]
    assert not (tmp_path / "runs/scenes/ummt-ps/seed-0/tensorboard").exists()
    assert "ummt-ps − mmmt-d" in says("table", "runs", "--compare", "ummt-ps,mmmt-d")
    Image.new("RGB", (64, 32)).save(tmp_path / "frame.png")
    model = "runs/scenes/ummt-ps/seed-0/checkpoints/last"
    says("predict", model, "frame.png", "--out", "labels")
    assert {path.name for path in (tmp_path / "labels").iterdir()} >= {"semseg", "depth"}
    deepspeed = {"ACCELERATE_USE_DEEPSPEED": "true"}
    line = fails("train", "scenes/ummt-d", *TINY, "seed=1", **deepspeed)
    assert line.endswith("needs deepspeed, transformers; pip install 'tutelage[deepspeed]'")


SNIPPET = """
import tutelage as tt
train = tt.ShardDataset("data/scenes", "train", pseudo={"semseg": tt.PseudoLabels("runs/.../labels/train", keep=0.9)})
val = tt.ShardDataset("data/scenes", "val")
model = tt.create_model("mtinet", backbone="hrnet_w18_small", inputs=["rgb"], tasks=train.tasks)
loss = tt.MultiTaskLoss(train.tasks, weights={"semseg": 1.0})
tt.Trainer(model, loss, train, out="runs/mine", global_batch_size=8, steps=200, lr=1e-3).fit()  # the same under accelerate launch
print(tt.evaluate(model, val))
print(tt.Predictor("runs/mine/checkpoints/last").predict({"rgb": val[0]["rgb"]}))
"""  # noqa: E501
"""The pieces from Python, as the design promises them (contract 5)."""


class HalfLabelled(Scenes):
    """Rendered rooms, of which the first four of the training split have labels of classes."""

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        kept = frame.labels if split == "val" or position < 4 else {"depth": frame.labels["depth"]}
        return replace(frame, labels=kept)


def test_the_pieces_fit_each_other_from_python(says, tutelage, tmp_path):
    """The snippet as it stands, on data of which a teacher has labelled the other half."""
    pack(HalfLabelled(8, 4, (32, 64)), tmp_path / "data/scenes", size=(32, 64))
    for command in ("train", "label"):
        says(command, "scenes/mmmt-d", *TINY)
    # 200 steps take half a minute of a processor
    program = SNIPPET.replace("runs/...", "runs/scenes/mmmt-d/seed-0").replace("steps=200", "steps=20")
    (tmp_path / "mine.py").write_text(program)
    done = tutelage.python("mine.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics, prediction = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert 0 < ast.literal_eval(metrics)["semseg"]["miou"] < 1 and ast.literal_eval(metrics)["depth"]["rmse"] > 0
    assert prediction.startswith("{'semseg': array(") and "'depth': array(" in done.stdout
    last = json.loads((tmp_path / "runs/mine/metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 20


@pytest.mark.parametrize(
    ("call", "extra"),
    {
        "prepare nyudv2 downloads data": "nyudv2",
        "inspect data --picture p.png": "report",
        "predict model photos --out p --picture p.png": "report",
        "picture scenes/ummt-ps --out p.png": "report",
        "report runs --out r.html": "report",
        "affinity scenes/mmmt-d": "report",
        "curve scenes/ummt-ps --labels 25,50": "report",
        "toy --picture p.png": "report",
    }.items(),
)
def test_a_missing_extra_is_named_before_anything_is_done(fails, tmp_path, call, extra):
    line = fails(*call.split())
    assert ": needs " in line and line.endswith(f"; pip install 'tutelage[{extra}]'")
    assert not list(tmp_path.iterdir())
