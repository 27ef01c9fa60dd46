"""The network: MTI-Net over one timm backbone for each modality. Start reading at :mod:`trainer.model.network`."""

from trainer import vision  # noqa: F401 - timm imports torchvision, so the repair comes before any module here
