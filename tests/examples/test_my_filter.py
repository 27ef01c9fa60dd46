"""The example of filters of pseudo-labels: a student learns what they keep, started by the command line."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from warm import python

from shards.labels import LabelShards
from trainer.configfile import load

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["flexible", "ramp"])
def test_a_filter_of_ones_own_decides_what_a_student_learns(make, monkeypatch, name):
    monkeypatch.chdir(EXAMPLES)
    keep = f"my_filter:{name}"
    student = make("student", f"pseudo.semseg.keep={keep}", "train.steps=3")
    call = [python(), "-m", "tutelage", "run", str(student.path), *student.overrides]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(call, cwd=EXAMPLES, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert json.loads((student.folder / "result.json").read_text())["pseudo_labels"]["semseg"] > 0
    assert load(student.folder / "config.yaml").pseudo.semseg.keep == keep

    labels = student.training_frames().label_shards["semseg"]
    assert isinstance(labels, LabelShards)
    kept, weights = [], []
    for shard in range(3):
        for key in labels.keys(shard):
            label, confidence = labels.read_unfiltered(shard, key)
            arrays = labels.read_arrays(shard, key)
            kept.append((arrays["semseg"] != 255).mean())
            weights.append(arrays["semseg.weight"])
            if name == "ramp":
                expected = np.minimum(confidence / 0.9, 1)
                assert np.abs(arrays["semseg.weight"][..., 0] / 255 - expected).max() <= 0.5 / 255 + 1e-6
            assert np.array_equal(arrays["semseg"][arrays["semseg"] != 255], label[arrays["semseg"] != 255])
    assert 0 < np.mean(kept) <= 1
    assert ({*np.unique(weights)} <= {0, 255}) == (name == "flexible"), "a mask weighs 0 or 1"
