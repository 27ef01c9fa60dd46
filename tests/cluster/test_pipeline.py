"""An experiment on several hosts has the same result as on one machine."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clone import Clone


@pytest.mark.parametrize(
    ("nodes", "ranks"),
    [(2, 1), *(pytest.param(*counts, marks=pytest.mark.long) for counts in ((2, 2), (3, 1), (3, 2)))],
)
def test_several_nodes_do_what_one_machine_does(new_clone: Callable[..., Clone], nodes: int, ranks: int):
    """From a clone without data to a table; what is finished or queued is not submitted again."""
    clone = new_clone(False)
    site = {"SUBMIT": f"--nodes={nodes}", "SUBMIT_PREPARE": "", "RANKS_PER_NODE": str(ranks)}
    first = clone.run("slurm/pipeline.sh", "student.yaml", **site)
    jobs = clone.jobs(first)
    assert list(jobs) == ["prepare", "teacher", "label", "student", "evaluate"], first
    second = clone.run("slurm/pipeline.sh", "student.yaml", **site)
    assert clone.jobs(second).items() <= jobs.items()
    assert second.count("submitted before") + second.count(": finished") == 5  # the first may have ended by now
    table = clone.finish(jobs["evaluate"], 500)
    assert f"{ranks} ranks a node" in table
    assert re.search(r"^ student .*\n", table, re.MULTILINE) and re.search(r"^ teacher .*\n", table, re.MULTILINE)
    assert clone.run("slurm/pipeline.sh", "student.yaml").count(": finished") == 5
    clone.launch(nodes * ranks, "run", "student.yaml", "run.root=alone")
    for name in ("teacher", "student"):
        cluster_result, local_result = (clone.result(f"{root}/scenes/{name}/seed-0") for root in ("runs", "alone"))
        assert cluster_result["metrics"] == local_result["metrics"]
        assert cluster_result["asked"] == local_result["asked"], "the same bits of weights"


def weights(run: Path) -> bytes:
    return (run / "checkpoints/last/model.safetensors").read_bytes()


def test_two_jobs_share_nodes(clone: Clone):
    jobs = {root: clone.submit("--nodes=2", "slurm/student.sh", "teacher.yaml", f"run.root={root}") for root in "ab"}
    for job in jobs.values():
        clone.slurm.until(job, "RUNNING")
    for job in jobs.values():
        clone.finish(job)
    one, other = (clone.folder / f"{root}/scenes/teacher/seed-0" for root in jobs)
    assert weights(one) == weights(other) and (one / "order.jsonl").read_text() == (other / "order.jsonl").read_text()


def test_zero_over_two_nodes(clone: Clone):
    job = clone.submit("--nodes=2", "--export=ALL,ENGINE=zero2", "slurm/student.sh", "teacher.yaml", "train.steps=3")
    assert "engine zero2" in clone.finish(job)
    clone.launch(2, "train", "teacher.yaml", "train.steps=3", "run.root=alone", engine="zero2")
    assert weights(clone.folder / "runs/scenes/teacher/seed-0") == weights(clone.folder / "alone/scenes/teacher/seed-0")


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_a_user_who_is_not_root(clone: Clone, tmp_path_factory: pytest.TempPathFactory):
    """With this Python, or with the system's if the user can read no other."""
    folder = clone.slurm.folder / "home"  # which everyone may enter
    shutil.copytree(clone.folder, folder, symlinks=True)
    for entry in [folder, *folder.rglob("*")]:
        if not entry.is_symlink():
            os.chown(entry, 65534, 65534)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    for python, path in ((sys.executable, ""), (f"/usr/bin/python3.{sys.version_info.minor}", packages)):
        probe = [*NOBODY, "env", f"PYTHONPATH={path}", python, "-c", "import torch, launchers.jobs"]
        if Path(python).exists() and not subprocess.run(probe, capture_output=True, cwd=folder).returncode:
            break
    else:
        pytest.skip("needs a Python with the packages, and a clone, that another user may read")
    (folder / "bin").mkdir()
    # not accelerate's whole command line, which imports torchvision: packages on PYTHONPATH are not repaired
    launch = f'shift\nexec {python} -m accelerate.commands.launch "$@"'
    for name, line in {"python": f'exec {python} "$@"', "accelerate": launch}.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / "bin" / name).chmod(0o755)
    env = {"PATH": f"{folder}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": path, "HOME": str(folder)}
    user_clone = Clone(folder, clone.slurm)
    job = user_clone.run(*NOBODY, "sbatch", "--parsable", "--nodes=2", "slurm/teacher.sh", "teacher.yaml", **env)
    assert " teacher " in user_clone.finish(job)
    assert (folder / "runs/scenes/teacher/seed-0/result.json").stat().st_uid == 65534
