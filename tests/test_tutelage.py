"""``import tutelage``: its names, how long it takes, and that the components work together."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from warm import python

import tutelage as tt
from shards.pack import pack
from shards.sources.scenes import Scenes
from trainer.validation import Validation
from trainer.weighting import Uncertainty

REPOSITORY = Path(__file__).parents[1]


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/python.md").read_text(), re.S)


@pytest.fixture
def scenes_small(tmp_path) -> Path:
    """A folder that contains data/scenes."""
    pack(Scenes(12, 2, (32, 64)), tmp_path / "data/scenes", size=(32, 64), samples_per_shard=8)
    return tmp_path


def test_every_name_is_there():
    assert all(getattr(tt, name) is not None for name in tt.__all__) and set(tt.__all__) <= set(dir(tt))
    assert tt.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="has no attribute 'Trainerr'"):
        _ = tt.Trainerr


def test_the_import_loads_nothing_heavy():
    program = "import sys, tutelage; print([name for name in ('torch', 'numpy', 'timm') if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_the_import_takes_less_than_300_milliseconds():
    """CPU time, with Python's own start, in the fastest of five processes: a busy machine slows others down."""
    seconds = []
    for _ in range(5):
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "import tutelage"], os.environ)
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        seconds.append(usage.ru_utime + usage.ru_stime)
    assert min(seconds) < 0.3


def test_the_module_is_the_command():
    process = subprocess.run([sys.executable, "-m", "tutelage", "--help"], capture_output=True, text=True, check=True)
    assert "usage: tutelage" in process.stdout


def test_the_page_says_what_works(scenes_small, monkeypatch, capsys):
    """The second program of docs/python.md, as it stands there."""
    program = programs()[1]
    monkeypatch.chdir(scenes_small)
    names: dict = {}
    exec(compile(program, "docs/python.md", "exec"), names)
    assert capsys.readouterr().out.startswith("12 (32, 64, 3) ")
    assert names["value"].isfinite() and len(names["train"].tasks) == 2


def test_the_page_trains_evaluates_and_predicts(scenes_small):
    """The first program, unchanged, in one process and in two, and once more in the same folder."""
    program, *_ = programs()
    (scenes_small / "mine.py").write_text(
        program.replace("global_batch_size=8, steps=20", "global_batch_size=4, steps=4")
    )

    def run(*launcher: str) -> list[str]:
        command = [python(), *launcher, "mine.py"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        environment["PYTHONUNBUFFERED"] = ""  # the lines of ranks that share an output stay whole
        process = subprocess.run(
            command, cwd=scenes_small, env=environment, capture_output=True, text=True, check=False
        )
        assert not process.returncode, process.stderr
        return [line for line in process.stdout.splitlines() if line.startswith(("0.", "(32"))]

    first = run()
    # a program draws the first weights anew each time, and after four steps those of one have mIoU 0
    assert 0 <= float(first[0]) < 1 and first[1] == "(32, 64)"
    weights = scenes_small / "runs/mine/checkpoints/last/model.safetensors"
    modified = weights.stat().st_mtime_ns
    assert run() == first and weights.stat().st_mtime_ns == modified, "finished, and loaded"
    shutil.rmtree(scenes_small / "runs")
    ddp = str(REPOSITORY / "configs/engine/ddp.yaml")
    launch = ("-m", "accelerate.commands.launch", "--config_file", ddp, "--num_processes", "2")
    output = run(*launch, "--no_python", python())
    assert len(output) == 4 and len(set(output)) == 2, "two ranks that say the same"


def test_the_page_labels_with_a_teacher_and_trains_a_student(scenes_small):
    """The program that labels, with fewer steps and smaller networks, and once more in the same folder."""
    program = next(program for program in programs() if "tt.label(" in program)
    changed = program.replace("hrnet_w18_small", "test_efficientnet").replace("steps=20", "steps=2")
    (scenes_small / "mine.py").write_text(changed)

    def run() -> list[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        command = [python(), "mine.py"]
        done = subprocess.run(command, cwd=scenes_small, env=environment, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return done.stdout.splitlines()

    first = run()
    assert first[0] == "4" and 0 <= float(first[1]) <= 1
    folder = scenes_small / "runs/teacher"
    labels = json.loads((folder / "labels/MANIFEST.json").read_text())
    exported = json.loads((folder / "checkpoints/last/model.json").read_text())
    assert labels["source"]["teacher"]["checkpoint_sha256"] == exported["sha256"]
    times = {path: path.stat().st_mtime_ns for path in (folder / "labels").iterdir()}
    assert run() == first and times == {path: path.stat().st_mtime_ns for path in (folder / "labels").iterdir()}


def test_the_page_runs_an_experiment(scenes_small, monkeypatch, capsys):
    """The program of a configuration, with fewer steps and a smaller network."""
    program = next(program for program in programs() if "tt.Config(" in program)
    monkeypatch.chdir(scenes_small)
    exec(
        compile(program.replace("hrnet_w18_small", "test_efficientnet").replace("steps=20", "steps=2"), "page", "exec")
    )
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "runs/scenes/mine/seed-0" and 0 <= float(last) <= 1
    assert json.loads(Path(first, "result.json").read_text())["steps"] == 2


def test_the_page_runs_a_student_of_a_shipped_teacher(scenes_small, monkeypatch, capsys):
    """The last program, likewise."""
    program = programs()[-1].replace("hrnet_w18_small", "test_efficientnet").replace("steps=20", "steps=2")
    monkeypatch.chdir(scenes_small)
    exec(compile(program, "page", "exec"))
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "runs/scenes/mmst/seed-0" and 0 <= float(last) <= 1
    assert json.loads(Path(first, "result.json").read_text())["inputs"] == ["rgb", "depth"]
    pseudo_labels = json.loads(Path("runs/scenes/student/seed-0/result.json").read_text())["pseudo_labels"]
    assert pseudo_labels == {"semseg": 8}


STOPPED = """
import sys
import tutelage as tt

train = tt.ShardDataset(sys.argv[1], "train", tasks=["semseg"])
model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
options = dict(global_batch_size=4, steps=100_000, log_every=1)
try:
    tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, out="mine", **options).fit()
except tt.Interrupted as error:
    sys.exit(str(error))
"""


def test_a_stopped_program_ends_as_the_page_says(tiny_dataset, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    call = [python(), "-c", STOPPED, str(tiny_dataset.folder)]
    with subprocess.Popen(call, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        metrics, deadline = tmp_path / "mine/metrics.jsonl", time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline and not (metrics.exists() and metrics.read_text()):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        error = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    stopped = re.fullmatch(r"mine: stopped at step (\d+) by SIGTERM; start the same command again to continue\n", error)
    assert stopped, error
    assert (tmp_path / f"mine/checkpoints/step-{int(stopped[1]):08d}").exists()


QUIET = """
import logging, sys
import torch
import tutelage as tt

train, val = (tt.ShardDataset(sys.argv[1], split, tasks=["semseg", "depth"]) for split in ("train", "val"))

def fit(out):
    model = tt.create_model(backbone="test_efficientnet", tasks=train.tasks, decoder="heads")
    options = dict(global_batch_size=4, steps=1, channels_last=False)
    tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, out=out, val=val, **options).fit()
    tt.evaluate(model, val, title="progress")

fit("quiet")
print("configured", flush=True)
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
fit("told")
"""


def test_the_library_prints_nothing_and_reports_to_its_logger(tiny_dataset, tmp_path):
    call = [python(), "-c", QUIET, str(tiny_dataset.folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert not process.returncode and not process.stderr, process.stderr
    first, *lines = process.stdout.splitlines()
    assert first == "configured"
    (line,) = [line for line in lines if "tutelage" in line]
    assert line.startswith("INFO:tutelage:told: ") and "M parameters in the backbone" in line


def test_a_folder_of_another_run_is_refused(tiny_dataset, tmp_path):
    train = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg", "depth"])

    def trainer(**options: Any) -> tt.Trainer:
        torch.manual_seed(0)
        model = tt.create_model(backbone="test_efficientnet", tasks=train.tasks, decoder="heads")
        data = tt.TrainingData(train, ["rgb"], ["semseg", "depth"], num_workers=0)
        return tt.Trainer(model, tt.MultiTaskLoss(train.tasks), data, out=tmp_path / "mine", **options)

    settings: dict[str, Any] = {"global_batch_size": 4, "steps": 2, "channels_last": False}
    trainer(**settings).fit()
    with pytest.raises(tt.UserError, match=r"mine: lr: holds a run with 0\.0001, not 0\.5; give another out"):
        trainer(**settings, lr=0.5).fit()
    with pytest.raises(tt.UserError, match=r"learning_rate: is not an option of training; did you mean"):
        trainer(learning_rate=1)
    assert trainer(**settings, log_every=3).fit().name == "last"


def test_a_run_on_other_labels_or_with_another_weighting_is_refused(tiny_dataset, tmp_path):
    whole = tt.ShardDataset(tiny_dataset)
    complete = [number for number in range(len(whole)) if {"semseg", "depth"} <= whole[number].keys()]

    def trainer(weighting: Any = None, select: Any = complete, **data: Any) -> tt.Trainer:
        train = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg", "depth"], **data).select(select)
        model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
        options: dict[str, Any] = {"global_batch_size": 4, "steps": 1, "channels_last": False}
        return tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, out=tmp_path, weighting=weighting, **options)

    trainer().fit()
    for changed, message in (
        ({"labels": {"semseg": 1}}, "labels: was begun with other labels of its samples; give another out"),
        ({"weighting": Uncertainty(2)}, "weighting: holds a run with None, not 'trainer.weighting:Uncertainty'"),
        ({"select": range(9)}, "frames: was begun with other samples"),
    ):
        with pytest.raises(tt.UserError, match=message):
            trainer(**changed).fit()
    path = tmp_path / "settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in settings.items() if k not in ("labels", "model", "weighting")}))
    trainer(labels={"semseg": 1}).fit()  # a run of an earlier version, which did not store them


def test_an_optimizer_is_a_component(tiny_dataset, tmp_path):
    train = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg", "depth"])
    exported = {}
    for name, settings in {
        "default": None,
        "same": {"lr": 1e-4},
        "betas": {"lr": 1e-4, "betas": (0.5, 0.9)},
        "lr": {},
    }.items():
        torch.manual_seed(0)
        model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
        optimizer = (
            None
            if settings is None
            else torch.optim.Adam(model.parameters(), weight_decay=1e-4, fused=True, **settings)
        )
        options: dict[str, Any] = {"global_batch_size": 4, "steps": 3, "optimizer": optimizer, "log_every": 1}
        tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, out=tmp_path / name, **options).fit()
        exported[name] = json.loads((tmp_path / name / "checkpoints/last/model.json").read_text())["sha256"]
    assert exported["same"] == exported["default"] and len({*exported.values()}) == 3
    first = json.loads((tmp_path / "lr/metrics.jsonl").read_text().splitlines()[0])
    assert first["lr"] == 1e-3, "torch's default, where the schedule starts"
    group = {"params": [*model.parameters()], "lr": 2e-3}
    options |= {"steps": 1, "optimizer": torch.optim.Adam([group], lr=0.5)}
    assert tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, out=tmp_path / "group", **options).options.lr == 2e-3


def test_the_best_network_is_kept_and_a_budget_hides_labels(tiny_dataset, tmp_path):
    train = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg", "depth"], labels={"semseg": 5})
    labelled = [number for number in range(len(train)) if "semseg" in train[number]]
    assert len(labelled) == 5
    val = tt.ShardDataset(tiny_dataset, "val", tasks=["semseg", "depth"])
    model = tt.create_model(backbone="test_efficientnet", tasks=train.tasks, decoder="heads")
    data = tt.TrainingData(train, ["rgb"], ["semseg", "depth"], num_workers=0, augment=tt.Augment(zoom=[1.0]))
    options: dict[str, Any] = {"global_batch_size": 4, "epochs": 2, "ema": 0.9}
    trainer = tt.Trainer(model, tt.MultiTaskLoss(train.tasks), data, out=tmp_path, val=val, **options)
    trainer.fit()
    assert (tmp_path / "checkpoints/best/model.json").exists()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in lines if "val" in line]) == 2
    assert tt.evaluate(model, val) == [line["val"] for line in lines if "val" in line][-1]


def test_selected_samples_are_trained_on_and_measured(tiny_dataset, tmp_path):
    train, val = (tt.ShardDataset(tiny_dataset, split, tasks=["semseg"]) for split in ("train", "val"))
    labelled = [number for number in range(len(train)) if "semseg" in train[number]]
    model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
    options: dict[str, Any] = {"global_batch_size": 2, "steps": 4, "trace": True}
    trainer = tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train.select(labelled[:4]), out=tmp_path, **options)
    trainer.fit()
    lines = [json.loads(line) for line in (tmp_path / "order.jsonl").read_text().splitlines()]
    assert {key for line in lines for key in line["keys"]} == {train.key(number) for number in labelled[:4]}
    parts = [val.select([number]) for number in range(len(val))]
    pixels = [tt.evaluate(model, part)["semseg"]["pixels"] for part in parts if "semseg" in part[0]]
    assert sum(pixels) == tt.evaluate(model, val)["semseg"]["pixels"]
    facts = [Validation.on(data, trainer).facts for data in (val, parts[0], parts[1])]
    assert "samples" not in facts[0], "as in runs of before"
    assert len({json.dumps(entry) for entry in facts}) == 3, "values on other samples are not compared"


def test_a_researchers_own_loop(tiny_dataset):
    """Data set, network and loss in a loop of plain torch that overfits a batch."""
    torch.manual_seed(0)
    train = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg", "depth"])
    model = tt.create_model(
        "mtinet", backbone="test_efficientnet", tasks=train.tasks, statistics=train.statistics, decoder="heads"
    )
    loss = tt.MultiTaskLoss(train.tasks, weights={"semseg": 1.0})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch = next(train.loader(8, seed=0))
    rgb = batch["rgb"].permute(0, 3, 1, 2).float() / 255
    targets = {"semseg": batch["semseg"], "depth": batch["depth"].unsqueeze(1)}
    values = []
    for _ in range(25):
        value = loss(model({"rgb": rgb}), targets, loss.counts(targets))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.7 * values[0] and np.isfinite(values).all()


def test_a_name_that_is_no_network_is_refused(tiny_dataset):
    with pytest.raises(tt.UserError, match=r"^name: 'resnet' is unknown; use mtinet"):
        tt.create_model("resnet", tasks=tiny_dataset.tasks)
