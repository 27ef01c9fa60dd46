"""Repair of torchvision where its wheel does not match the installed torch.

torchvision's wheels on the package index are CUDA builds. With a CPU build of torch, their compiled operators cannot be
loaded, and ``import torchvision`` fails with ``operator torchvision::nms does not exist``, although transforms, which
are all that is used here (and by timm), need no compiled operator. The import succeeds once the schemas of the missing
operators are declared.

Tutelage's own processes call :func:`install`. timm imports torchvision in other processes too, such as that of
``accelerate launch``. ``python -m trainer.torchvision_repair`` installs the repair into its environment if torchvision
cannot be imported there, and does nothing otherwise; ``make install`` ends with it. To remove it, install torch and
torchvision from the same index, and delete the files that it names.
"""

import importlib.abc
import importlib.machinery
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_NAME = "_tutelage_torchvision_repair"
_libraries: list[Any] = []  # a library's operators disappear when it is garbage collected


def install() -> None:
    """Repair torchvision when it is first imported in this process."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds torchvision in its usual place, and wraps its loader."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != "torchvision":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:  # resources, sources, is_package: of the wrapped loader
        return getattr(self.loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self.loader.exec_module(module)
        except RuntimeError as error:
            if "operator torchvision::" not in str(error):
                raise
            for name in [name for name in sys.modules if name.startswith("torchvision.")]:
                del sys.modules[name]  # partially imported
            for name in [name for name in vars(module) if not name.startswith("__")]:
                delattr(module, name)
            _declare()
            self.loader.exec_module(module)


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _libraries.append(library)


def repair_environment(site: Path) -> list[Path]:
    """Make every Python process of an environment repair torchvision when it is first imported, if that is needed.

    Args:
        site: the environment's folder of packages.

    Returns:
        The files that were written; none where torchvision can be imported.
    """
    if not subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode:
        return []
    module, start = site / f"{_NAME}.py", site / f"{_NAME}.pth"
    shutil.copyfile(__file__, module)
    start.write_text(f"import {_NAME}; {_NAME}.install()\n")
    if subprocess.run([sys.executable, "-c", "import torchvision"], check=False).returncode:  # shows what is wrong
        start.unlink()
        module.unlink()
        return []
    return [module, start]


if __name__ == "__main__":
    if files := repair_environment(Path(sysconfig.get_path("purelib"))):
        names = " ".join(map(str, files))
        print(f"torchvision does not fit torch and is repaired when it is imported: {names}")  # noqa: T201 - a command
