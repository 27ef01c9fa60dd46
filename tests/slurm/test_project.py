"""The scripts in a project of `tutelage init`, where there is no clone: the engine's file is the installed one."""

import os
import subprocess
import sys
from pathlib import Path

from warm import python

from launchers.cli import main
from trainer.shipped import CONFIGS, ROOT


def run(folder: Path, *call: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    path = f"{Path(python()).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment |= {"PATH": path, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_a_dry_run_prints_what_would_run(tmp_path):
    assert main(["init", str(tmp_path / "robot")]) == 0
    process = run(tmp_path / "robot", "slurm/pipeline.sh", "configs/student.yaml", "--dry-run", ENGINE="zero2")
    assert process.returncode == 0, process.stderr
    assert "python -m tutelage prepare folder frames data/robot " in process.stdout
    assert " slurm/teacher.sh configs/teacher.yaml" in process.stdout
    assert f"--config_file {CONFIGS}/engine/zero2.yaml " in process.stdout
    assert "-m tutelage train configs/student.yaml" in process.stdout


def test_a_shipped_name_is_not_taken_for_a_file_of_the_folder_it_is_called_from(tmp_path):
    assert main(["init", str(tmp_path / "robot")]) == 0
    process = run(tmp_path, "robot/slurm/pipeline.sh", "scenes/ummt-ps", "--dry-run")
    assert process.returncode == 0, process.stderr
    assert " slurm/teacher.sh scenes/mmmt-d" in process.stdout
    assert "-m tutelage train scenes/ummt-ps" in process.stdout


def test_an_engine_of_ones_own_comes_first_and_an_unknown_one_is_told(tmp_path):
    folder = tmp_path / "robot"
    assert main(["init", str(folder)]) == 0
    (folder / "configs/engine").mkdir()
    (folder / "configs/engine/mine.yaml").write_text("num_processes: 1\n")
    process = run(folder, "slurm/pipeline.sh", "configs/student.yaml", "--dry-run", ENGINE="mine")
    assert "--config_file configs/engine/mine.yaml " in process.stdout
    process = run(folder, "slurm/pipeline.sh", "configs/student.yaml", "--dry-run", ENGINE="zero9")
    assert process.returncode == 1 and "ENGINE=zero9" in process.stderr and "did you mean" in process.stderr
