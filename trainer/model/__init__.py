"""The networks and their backbones. Start reading at :mod:`trainer.model.network`."""

from trainer import vision  # noqa: F401 - timm imports torchvision, so it must be repaired before any module here
