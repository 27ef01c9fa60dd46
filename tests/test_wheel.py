"""The wheel, installed with its requirements and no extra, in empty folders: as a user of pip has it."""

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
def output_of(tutelage, tmp_path):
    """``output_of("config", "nyudv2/ummt-ps")``: the output of a command that succeeds, in this test's empty folder."""

    def run(*words: str, cwd: Path = tmp_path, **env: str) -> str:
        process = tutelage(*words, cwd=cwd, **env)
        assert process.returncode == 0, process.stderr
        return process.stdout

    return run


@pytest.fixture
def fails(tutelage, tmp_path):
    """``fails("report", ...)``: the one line of a command that fails."""

    def run(*words: str, **env: str) -> str:
        process = tutelage(*words, cwd=tmp_path, **env)
        assert process.returncode == 1, process.stdout
        (line,) = process.stderr.splitlines()
        return line

    return run


def files(folder: Path) -> set[Path]:
    """The files of a folder and its subfolders, relative to it."""
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_nothing_of_the_clone_or_of_an_extra_is_there(tutelage):
    names = {path.name for path in tutelage.folder.iterdir()}
    assert {"configs", "slurm", "torch", "timm", "scipy"} <= names
    assert not names & {"tests", "docs", "deepspeed", "transformers", "h5py", "matplotlib", "contourpy", "tensorboard"}
    assert not (tutelage.folder / "slurm/site.env").exists()
    assert os.access(tutelage.folder / "slurm/pipeline.sh", os.X_OK)
    for folder in ("configs", "slurm"):
        assert files(tutelage.folder / folder) == files(ROOT / folder) - {Path("site.env")}


def test_shipped_configurations_are_found_by_name(output_of, fails, tutelage):
    text = output_of("config", "nyudv2/ummt-ps")
    assert "# runs/nyudv2/ummt-ps/seed-0" in text and "path: data/nyudv2" in text
    assert f"teacher: {tutelage.folder}/configs/nyudv2/mmmt-d.yaml" in text
    assert output_of("config", "configs/nyudv2/ummt-ps.yaml") == text, "as a clone's pages spell it"
    assert output_of("config", "--list").split() == shipped.names()
    assert output_of("config", "--path", "engine/ddp").strip() == f"{tutelage.folder}/configs/engine/ddp.yaml"
    assert fails("run", "nyudv2/umt-ps") == "tutelage: nyudv2/umt-ps: does not exist; did you mean nyudv2/ummt-ps?"
    assert "the name of a shipped one (`tutelage config --list`)" in fails("status", "quite/another")


def test_a_grid_is_found_by_name(output_of):
    output = output_of("grid", "scenes", "--dry-run", "--seeds", "1")
    assert all(f" {row} " in output for row in ("ummt-ps", "mmmt-d", "umst-s")) and output.count("pending") == 16


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


def test_tables_have_the_papers_columns(output_of, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(ROW))
    output = output_of("table", ".", "--format", "md")
    assert "paper mIoU" in output and "22.1" in output and "0.790" in output


def test_a_project_is_written_and_its_configurations_are_whole(output_of, tutelage, tmp_path):
    assert "robot: wrote 14 files" in output_of("init", "robot")
    assert os.access(tmp_path / "robot/slurm/pipeline.sh", os.X_OK)
    text = output_of("config", "configs/student.yaml", cwd=tmp_path / "robot")
    assert "path: data/robot" in text and "teacher: configs/teacher.yaml" in text and "decoder: heads" in text


def test_trains_labels_evaluates_and_compares_without_any_extra(output_of, fails, tmp_path):
    """The whole loop: a missing extra at its end would lose all the work before."""
    output_of("prepare", "scenes", "data/scenes", *FRAMES)
    assert "12 samples verified" in output_of("inspect", "data/scenes", "--verify")
    output = output_of("run", "scenes/ummt-ps", *TINY)
    assert "written: runs/scenes/ummt-ps/seed-0/result.json" in output
    result = json.loads((tmp_path / "runs/scenes/ummt-ps/seed-0/result.json").read_text())
    assert result["environment"]["deepspeed"] is None and result["environment"]["torch"]
    assert result["environment"]["tutelage"] == importlib.metadata.version("tutelage")
    assert result["command"] == ["tutelage", "run", "scenes/ummt-ps", *TINY]
    assert not (tmp_path / "runs/scenes/ummt-ps/seed-0/tensorboard").exists()
    assert "ummt-ps − mmmt-d" in output_of("table", "runs", "--compare", "ummt-ps,mmmt-d")
    Image.new("RGB", (64, 32)).save(tmp_path / "frame.png")
    model = "runs/scenes/ummt-ps/seed-0/checkpoints/last"
    output_of("predict", model, "frame.png", "--out", "labels")
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
"""The components from Python, as the design promises them (contract 5)."""


class HalfLabelled(Scenes):
    """Rendered rooms; of the training split, only the first four have labels of semseg."""

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        labels = frame.labels if split == "val" or position < 4 else {"depth": frame.labels["depth"]}
        return replace(frame, labels=labels)


def test_the_pieces_fit_each_other_from_python(output_of, tutelage, tmp_path):
    """The unchanged snippet, on data whose other half a teacher has labelled."""
    pack(HalfLabelled(8, 4, (32, 64)), tmp_path / "data/scenes", size=(32, 64))
    for command in ("train", "label"):
        output_of(command, "scenes/mmmt-d", *TINY)
    # 200 steps take half a minute of a processor
    program = SNIPPET.replace("runs/...", "runs/scenes/mmmt-d/seed-0").replace("steps=200", "steps=20")
    (tmp_path / "mine.py").write_text(program)
    process = tutelage.python("mine.py", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    metrics, prediction = [line for line in process.stdout.splitlines() if line.startswith("{")]
    assert 0 < ast.literal_eval(metrics)["semseg"]["miou"] < 1 and ast.literal_eval(metrics)["depth"]["rmse"] > 0
    assert prediction.startswith("{'semseg': array(") and "'depth': array(" in process.stdout
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
