"""The job scripts: their length, style and options, and their dry runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from warm import python

from trainer.experiment import Experiment
from trainer.pipeline import jobs

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "slurm").glob("*.sh"))
JOBS = [path for path in SCRIPTS if path.name not in ("common.sh", "pipeline.sh")]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_shellcheck_finds_nothing():
    process = subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


def test_scripts_are_short():
    assert len(JOBS) == 5
    for path in SCRIPTS:
        assert path.name == "common.sh" or len(path.read_text().splitlines()) < 60


@pytest.mark.parametrize("script", JOBS, ids=lambda path: path.stem)
def test_every_job_survives_and_keeps_its_log(script):
    lines = script.read_text().splitlines()
    for option in ("--requeue", "--signal=B:USR1@180", "--open-mode=append", "--output=%x-%j.out"):
        assert f"#SBATCH {option}" in lines
    assert f"#SBATCH --job-name={script.stem}" in lines


def run(*call: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(python()).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment |= {"PATH": path, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_dry_run_prints_what_would_run_and_needs_no_slurm(tmp_path):
    store = tmp_path / "store"
    words = ["configs/scenes/ummt-ps.yaml", "--dry-run", "train.steps=3"]
    process = run("slurm/pipeline.sh", *words, STORAGE=str(store), ENGINE="zero2", SUBMIT="--nodes=4")
    assert process.returncode == 0, process.stderr
    output = process.stdout
    for name in ("prepare", "teacher", "label", "student", "evaluate"):
        assert f" slurm/{name}.sh configs/scenes/" in output
    assert output.count("sbatch --parsable --nodes=4 ") == 5
    assert "--dependency=afterok:ID-OF-TEACHER --kill-on-invalid-dep=yes slurm/label.sh" in output
    assert f"prepare scenes {store}/data/scenes" in output
    assert "--config_file configs/engine/zero2.yaml" in output
    assert f"-m tutelage train configs/scenes/ummt-ps.yaml run.root={store}/runs" in output
    assert not store.exists()


def test_scripts_run_and_grid_go_through_the_same_stages(tmp_path):
    """The stages of one graph of jobs, as each of its three readers shows them."""
    config, overrides = "configs/scenes/ummt-ps.yaml", [f"run.root={tmp_path}", f"data.path={tmp_path / 'data'}"]
    planned_jobs = jobs(Experiment(ROOT / config, overrides))
    process = run("slurm/pipeline.sh", config, *overrides, "--dry-run")
    assert process.returncode == 0, process.stderr
    launched = re.findall(r"-m tutelage (train|label|evaluate) configs/scenes/(\S+)\.yaml", process.stdout)
    assert launched == [(stage, job.experiment.path.stem) for job in planned_jobs for stage in job.stages]
    assert launched == [
        *(("train", "mmmt-d"), ("evaluate", "mmmt-d"), ("label", "mmmt-d")),
        *(("train", "ummt-ps"), ("evaluate", "ummt-ps")),
    ]
    grid = run("python", "-m", "tutelage", "grid", "scenes", "--rows", "ummt-ps", "--dry-run", *overrides)
    assert grid.returncode == 0, grid.stderr
    rows = [line.split()[:2] for line in grid.stdout.splitlines() if "pending" in line]
    assert [row for row, _ in rows] == [name for stage, name in launched if stage == "train"]
    assert {teacher for _, teacher in rows} - {"–"} == {name for stage, name in launched if stage == "label"}


def test_mistakes_are_told():
    assert "slurm/pipeline.sh CONFIG" in run("slurm/pipeline.sh").stderr
    assert "did you mean train.steps?" in run("slurm/pipeline.sh", "configs/scenes/ummt-ps.yaml", "train.step=3").stderr
    assert "submit it" in run("slurm/teacher.sh").stderr
