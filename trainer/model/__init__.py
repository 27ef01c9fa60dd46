"""The networks and their backbones. Start reading at :mod:`trainer.model.network`."""

from trainer import torchvision_repair

torchvision_repair.install()  # before timm, which imports torchvision
