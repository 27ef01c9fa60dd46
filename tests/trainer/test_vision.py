"""The repair of torchvision (trainer/torchvision_repair.py), on stand-ins: working, half-working and broken."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROBE = """
import torch
from . import half
{fault}
from . import tv_tensors
"""
MISSING_OPERATOR = 'torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "Meta")'
REPORT = """
import torch
try:
    from trainer.vision import transforms, tv_tensors
    print("imported", transforms.__name__)
except RuntimeError as error:
    print("raised", error)
print("declared", hasattr(torch.ops.torchvision, "nms"))
"""


def run(folder: Path, fault: str) -> list[str]:
    """Return the output lines of a fresh process whose torchvision has this fault in its __init__."""
    package = folder / "torchvision"
    (package / "transforms").mkdir(parents=True)
    (package / "__init__.py").write_text(PROBE.format(fault=fault))
    (package / "half.py").write_text("print('half')")
    for empty in ("tv_tensors.py", "transforms/__init__.py", "transforms/v2.py"):
        (package / empty).touch()
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    process = subprocess.run(
        [sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stderr == ""
    return process.stdout.splitlines()


def test_a_working_torchvision_is_left_alone(tmp_path):
    assert run(tmp_path, "") == ["half", "imported torchvision.transforms.v2", "declared False"]


def test_missing_operators_are_declared_and_the_import_starts_afresh(tmp_path):
    expected = ["half", "half", "imported torchvision.transforms.v2", "declared True"]
    assert run(tmp_path, MISSING_OPERATOR) == expected


def test_another_fault_is_not_hidden(tmp_path):
    assert run(tmp_path, 'raise RuntimeError("driver too old")') == ["half", "raised driver too old", "declared False"]


@pytest.mark.parametrize(
    ("fault", "files", "imported"),
    [("", 0, True), (MISSING_OPERATOR, 2, True), ('raise RuntimeError("old")', 0, False)],
)
def test_an_environment_is_repaired_only_where_that_is_needed_and_helps(tmp_path, fault, files, imported):
    venv.create(tmp_path, with_pip=False)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    (site / "torchvision").mkdir()
    (site / "torchvision/__init__.py").write_text(f"import torch\n{fault}\n")
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    python = tmp_path / "bin/python"
    command = [python, "-m", "trainer.torchvision_repair"]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert len(list(site.glob("_tutelage*.p*"))) == files
    assert ("is repaired" in process.stdout) == (files > 0)
    status = subprocess.run([python, "-c", "import torchvision"], capture_output=True, cwd=tmp_path).returncode
    assert (status == 0) == imported


def test_the_real_one_works_with_timm_and_transforms():
    code = "import torch; from trainer.model.repaired import timm; "
    code += "from trainer.vision import transforms as t, tv_tensors as v; "
    code += "print(t.functional.hflip(v.Mask(torch.eye(2, dtype=torch.uint8))).tolist())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == ("[[0, 1], [1, 0]]\n", "")


def test_what_needs_neither_changes_nothing_in_the_process():
    """Finders that other packages insert, such as setuptools', are not ours."""
    code = "import sys; import trainer.experiment, trainer.losses; from trainer.torchvision_repair import _Finder; "
    code += "print([m for m in ('timm', 'torchvision') if m in sys.modules], "
    code += "[finder for finder in sys.meta_path if isinstance(finder, _Finder)])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "[] []\n"


def test_the_package_itself_is_light():
    code = "import sys, trainer; print([m for m in ('torch', 'timm', 'torchvision') if m in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "[]\n"


def test_processes_that_are_not_ours_are_repaired_too():
    """``accelerate launch`` imports timm, and with it torchvision, before any of our modules."""
    process = subprocess.run([sys.executable, "-c", "import torch, timm; print('ok')"], capture_output=True, text=True)
    assert (process.stdout, process.stderr) == ("ok\n", "")
