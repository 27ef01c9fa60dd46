"""``import tutelage``: what it offers, how soon, and that the pieces fit each other."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from warm import python

import tutelage as tt
from shards.pack import pack
from shards.sources.scenes import Scenes

REPOSITORY = Path(__file__).parents[1]


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/python.md").read_text(), re.S)


@pytest.fixture
def scenes_small(tmp_path) -> Path:
    """A folder in which data/scenes is."""
    pack(Scenes(12, 2, (32, 64)), tmp_path / "data/scenes", size=(32, 64), samples_per_shard=8)
    return tmp_path


def test_every_name_is_there():
    assert all(getattr(tt, name) is not None for name in tt.__all__) and set(tt.__all__) <= set(dir(tt))
    assert tt.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="has no attribute 'Trainerr'"):
        _ = tt.Trainerr


def test_the_import_loads_nothing_heavy():
    program = "import sys, tutelage; print([name for name in ('torch', 'numpy', 'timm') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_the_import_takes_less_than_300_milliseconds():
    """Of a processor, with Python's own start, in the best of five processes: a busy machine lengthens others."""
    used = []
    for _ in range(5):
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "import tutelage"], os.environ)
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        used.append(usage.ru_utime + usage.ru_stime)
    assert min(used) < 0.3


def test_the_module_is_the_command():
    said = subprocess.run([sys.executable, "-m", "tutelage", "--help"], capture_output=True, text=True, check=True)
    assert "usage: tutelage" in said.stdout


def test_the_page_says_what_works(scenes_small, monkeypatch, capsys):
    """The second program of docs/python.md, as it stands there."""
    _, program, _ = programs()
    monkeypatch.chdir(scenes_small)
    names: dict = {}
    exec(compile(program, "docs/python.md", "exec"), names)
    assert capsys.readouterr().out.startswith("12 (32, 64, 3) ")
    assert names["value"].isfinite() and len(names["train"].tasks) == 2


def test_the_page_trains_evaluates_and_predicts(scenes_small):
    """Its first program, as it stands there, on one process and on two, and once more in the same folder."""
    program, *_ = programs()
    (scenes_small / "mine.py").write_text(
        program.replace("global_batch_size=8, steps=20", "global_batch_size=4, steps=4")
    )

    def run(*launcher: str) -> list[str]:
        command = [python(), *launcher, "mine.py"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        environment["PYTHONUNBUFFERED"] = ""  # the lines of ranks that share an output stay whole
        done = subprocess.run(command, cwd=scenes_small, env=environment, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith(("0.", "(32"))]

    first = run()
    assert 0 < float(first[0]) < 1 and first[1] == "(32, 64)"
    weights = scenes_small / "runs/mine/checkpoints/last/model.safetensors"
    written = weights.stat().st_mtime_ns
    assert run() == first and weights.stat().st_mtime_ns == written, "finished, and loaded"
    shutil.rmtree(scenes_small / "runs")
    ddp = str(REPOSITORY / "configs/engine/ddp.yaml")
    launch = ("-m", "accelerate.commands.launch", "--config_file", ddp, "--num_processes", "2")
    both = run(*launch, "--no_python", python())
    assert len(both) == 4 and len(set(both)) == 2, "two ranks that say the same"


def test_the_page_runs_an_experiment(scenes_small, monkeypatch, capsys):
    """Its third program, of fewer steps of a smaller network."""
    *_, program = programs()
    monkeypatch.chdir(scenes_small)
    exec(
        compile(program.replace("hrnet_w18_small", "test_efficientnet").replace("steps=20", "steps=2"), "page", "exec")
    )
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "runs/scenes/mine/seed-0" and 0 <= float(last) <= 1
    assert json.loads(Path(first, "result.json").read_text())["steps"] == 2


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
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode and not done.stderr, done.stderr
    first, *lines = done.stdout.splitlines()
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

    few: dict[str, Any] = {"global_batch_size": 4, "steps": 2, "channels_last": False}
    trainer(**few).fit()
    with pytest.raises(tt.UserError, match=r"mine: lr: holds a run with 0\.0001, not 0\.5; give another out"):
        trainer(**few, lr=0.5).fit()
    with pytest.raises(tt.UserError, match=r"learning_rate: is not an option of training; did you mean"):
        trainer(learning_rate=1)
    assert trainer(**few, log_every=3).fit().name == "last"


def test_an_optimizer_is_a_component(tiny_dataset, tmp_path):
    train = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg", "depth"])
    exported = {}
    for name, given in {
        "default": None,
        "same": {"lr": 1e-4},
        "betas": {"lr": 1e-4, "betas": (0.5, 0.9)},
        "lr": {},
    }.items():
        torch.manual_seed(0)
        model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
        optimizer = (
            None if given is None else torch.optim.Adam(model.parameters(), weight_decay=1e-4, fused=True, **given)
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
    shown = [number for number in range(len(train)) if "semseg" in train[number]]
    assert len(shown) == 5
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


def test_a_researchers_own_loop(tiny_dataset):
    """Data set, network and loss in a loop of plain torch, with one class that overfits a batch."""
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
    with pytest.raises(tt.UserError, match="name: 'resnet' is unknown; use mtinet"):
        tt.create_model("resnet", tasks=tiny_dataset.tasks)
