"""torchvision's transforms in any environment: importing them from here first repairs torchvision if necessary.

To be used in place of torchvision's own modules::

    from trainer.vision import transforms, tv_tensors
"""

from trainer import torchvision_repair

torchvision_repair.install()

from torchvision import tv_tensors  # noqa: E402 - not before the repair
from torchvision.transforms import v2 as transforms  # noqa: E402

__all__ = ["transforms", "tv_tensors"]
