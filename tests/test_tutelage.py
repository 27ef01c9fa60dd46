"""``import tutelage``: what it offers, how soon, and that the pieces fit each other."""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import tutelage as tt
from shards.pack import pack
from shards.sources.scenes import Scenes

REPOSITORY = Path(__file__).parents[1]


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
    started = time.monotonic()
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
    assert time.monotonic() - started < 5, "milliseconds, on a machine that is not busy"


def test_the_module_is_the_command():
    said = subprocess.run([sys.executable, "-m", "tutelage", "--help"], capture_output=True, text=True, check=True)
    assert "usage: tutelage" in said.stdout


def test_the_page_says_what_works(scenes_small, monkeypatch, capsys):
    """The program of docs/python.md, as it stands there."""
    (program,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/python.md").read_text(), re.S)
    monkeypatch.chdir(scenes_small)
    names: dict = {}
    exec(compile(program, "docs/python.md", "exec"), names)
    assert capsys.readouterr().out.startswith("12 (32, 64, 3) ")
    assert names["value"].isfinite() and len(names["train"].tasks) == 2


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
