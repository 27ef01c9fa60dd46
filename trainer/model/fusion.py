"""The feature fusion module (FFM): merges several modalities' features into one pyramid."""

from collections.abc import Sequence
from functools import reduce

import torch


def fuse(pyramids: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    """Add the modalities' features at every scale; a single modality passes unchanged.

    Args:
        pyramids: for each modality, its backbone's features ``(B, C_s, h_s, w_s)``, one for each scale s.
    """
    return [reduce(torch.add, scale) for scale in zip(*pyramids, strict=True)]
