"""timm in any environment: importing it from here first repairs torchvision, which timm imports, if necessary.

To be used in place of timm itself::

    from trainer.model.repaired import timm
"""

from trainer import torchvision_repair

torchvision_repair.install()

import timm  # noqa: E402 - not before the repair

__all__ = ["timm"]
