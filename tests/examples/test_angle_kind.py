"""The example of an external kind: found by its entry points, and used like any other."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from warm import python

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def installed(tmp_path) -> dict[str, str]:
    """An environment in which a package with the example is installed."""
    site = tmp_path / "site"
    metadata = site / "angle_kind-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "angle_kind.py").write_bytes((EXAMPLES / "angle_kind.py").read_bytes())
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: angle_kind\nVersion: 1.0\n")
    entry_points = (
        "[tutelage.storage]\nangle = angle_kind:AngleStorage\n[tutelage.learning]\nangle = angle_kind:AngleLearning\n"
    )
    (metadata / "entry_points.txt").write_text(entry_points)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(EXAMPLES.parent)]), "OMP_NUM_THREADS": "1"}


def tutelage(*words: object, env: dict[str, str], status: int = 0) -> str:
    call = [python(), "-m", "tutelage", *map(str, words)]
    process = subprocess.run(call, env=env, capture_output=True, text=True)
    assert process.returncode == status, process.stderr
    return process.stdout + process.stderr


def test_a_kind_from_outside_goes_all_the_way(tmp_path, installed):
    root, random = tmp_path / "grasps", np.random.default_rng(0)
    for folder in ("rgb", "grasp"):
        (root / folder).mkdir(parents=True)
    rows, columns = np.mgrid[:64, :96]
    for number in range(12):
        degrees = int(random.integers(1, 181))
        wave = np.sin((columns * np.sin(np.radians(degrees)) - rows * np.cos(np.radians(degrees))) / 2)
        Image.fromarray(np.uint8(127 + 120 * wave)[..., None].repeat(3, 2)).save(root / "rgb" / f"{number}.png")
        if number % 2 or number > 7:
            Image.fromarray(np.full((64, 96), degrees, np.uint8)).save(root / "grasp" / f"{number}.png")
    declaration = {"name": "grasps", "val_fraction": 0.25, "tasks": {"grasp": {"kind": "angle"}}}
    (root / "dataset.yaml").write_text(yaml.safe_dump(declaration))
    output = tutelage(
        "prepare", "folder", root, tmp_path / "data", env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}, status=1
    )
    assert "'angle' is not a kind; known: classes, scalar, unit_vector, binary" in " ".join(output.split())
    tutelage("prepare", "folder", root, tmp_path / "data", env=installed)
    (tmp_path / "teacher.yaml").write_text(f"""
        data: {{name: grasps, path: {tmp_path / "data"}, num_workers: 0}}
        tasks: [grasp]
        model: {{backbone: test_efficientnet, decoder: heads}}
        train: {{global_batch_size: 2, steps: 6}}
        evaluate: {{every: 0}}
        label: {{flip: true}}
        run: {{root: {tmp_path / "runs"}}}
    """)
    (tmp_path / "student.yaml").write_text(
        "inherits: teacher.yaml\npseudo: {grasp: {teacher: teacher.yaml, keep: 0.5}}"
    )
    tutelage("run", tmp_path / "student.yaml", env=installed)
    result = json.loads((tmp_path / "runs/grasps/student/seed-0/result.json").read_text())
    assert 0 < result["metrics"]["grasp"]["angle"] <= 90 and result["pseudo_labels"]["grasp"] > 0
    assert "angle °" in tutelage("table", tmp_path / "runs", env=installed)
    tutelage("report", tmp_path / "runs", "--out", tmp_path / "report.html", env=installed)
    assert "angle °" in (tmp_path / "report.html").read_text()
    tutelage("inspect", tmp_path / "data", "--verify", "--picture", tmp_path / "sheet.png", env=installed)
