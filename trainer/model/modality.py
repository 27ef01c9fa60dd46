"""The encoders of a network's inputs."""

from trainer.kinds import learning
from trainer.model.architecture import RGB, Architecture
from trainer.model.encoders import Encoder, RGBEncoder


def encoder(name: str, architecture: Architecture) -> Encoder:
    """Return the encoder of one of the architecture's inputs."""
    if name == RGB:
        return RGBEncoder(architecture.rgb_mean, architecture.rgb_std)
    validity = architecture.fusion != "early"
    return learning(architecture.labels[name]).encoder(architecture.statistics.get(name), validity)
