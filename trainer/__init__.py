"""Networks, losses, metrics, the training loop, labelling and evaluation. Imports :mod:`shards`, never launchers.

Nothing is imported here, so that commands which need no network start at once. Import torchvision from
:mod:`trainer.vision`, and timm from :mod:`trainer.model.repaired`: next to a CPU build of torch, neither can be
imported without the repair made there.
"""
