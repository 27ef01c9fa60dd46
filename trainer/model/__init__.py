"""The networks and their backbones. Start reading at :mod:`trainer.model.network`."""
