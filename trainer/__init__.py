"""Networks, losses, metrics, the training loop, labelling and evaluation. Imports :mod:`shards`, never launchers.

Nothing is imported here, so that commands which need no network start at once. Take torchvision from
:mod:`trainer.vision`, and timm only inside :mod:`trainer.model`: neither imports beside a CPU build of torch
without the repair made there.
"""
