"""torchvision, repaired where its wheel does not fit the installed torch.

torchvision's wheels on the package index are CUDA builds. Beside a CPU build of torch their compiled operators cannot
be loaded, and ``import torchvision`` ends in ``operator torchvision::nms does not exist``, although
transforms and tensor types, all that is wanted of it here, need no compiled operator. The import
succeeds once the schemas of the missing operators are declared. Whoever needs torchvision takes it from here::

    from trainer.vision import transforms, tv_tensors

timm imports torchvision as well; :mod:`trainer.model`, its only user, imports this module first.
"""

import importlib
import sys

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library that is collected takes its operators with it


def import_torchvision() -> None:
    """Import torchvision, declaring its operators first where they are missing.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: it fails for another reason than its missing operators.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(operator + _SCHEMA)
        _declared.append(library)
        importlib.import_module("torchvision")


import_torchvision()

from torchvision import tv_tensors  # noqa: E402 - not before the repair
from torchvision.transforms import v2 as transforms  # noqa: E402

__all__ = ["transforms", "tv_tensors"]
