"""CutMix: a box in a training frame is replaced by the same box of another frame, with all its labels.

Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (ICCV 2019), eq. 1
to 3; for segmentation as in French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations"
(BMVC 2020). Labels are pasted rather than mixed, since they are per pixel.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from shards.mixture import Mixture
from shards.order import Order, mix
from shards.stream import Position
from shards.tasks import Task
from trainer.augment import no_plane
from trainer.kinds import learning

_CUTMIX = 0xC07  # keeps the boxes' random stream apart from the others


class CutMix:
    """Loads frames into which a box of another frame is pasted.

    The other frame is the one at the neighbouring position, ``position ^ 1``, augmented as it would be by itself. So a
    frame remains a pure function of (seed, epoch, position), on any number of ranks; every mixed frame costs the
    decoding of a second one.

    Args:
        load: returns the key and tensors of a position.
        order: the order of the samples.
        share: the share of frames that are mixed.
        seed: the seed of the run.
        tasks: the tasks whose labels frames may have.
    """

    def __init__(
        self, load: Callable[[Position], Any], order: Order | Mixture, share: float, seed: int, tasks: Sequence[Task]
    ) -> None:
        self.load, self.order, self.share, self.seed, self.tasks = load, order, share, seed, tasks

    def __call__(self, position: Position) -> tuple[str, dict[str, Tensor]]:
        key, frame = self.load(position)
        box = draw_box(mix(self.seed, _CUTMIX, position.epoch, position.position), self.share, *frame["rgb"].shape[-2:])
        if box is None:
            return key, frame
        neighbour = position.position ^ 1
        try:
            location = self.order.locate(position.epoch, neighbour)
        except IndexError:  # the last position of an epoch of odd length
            return key, frame
        _, other = self.load(Position(position.epoch, neighbour, *location))
        if other["rgb"].shape != frame["rgb"].shape:
            return key, frame  # collation reports frames that differ in size
        return key, paste(frame, other, box, self.tasks)


def draw_box(seed: int, share: float, height: int, width: int) -> tuple[slice, slice] | None:
    """Draw the rows and columns that are replaced; None for a frame that is not mixed.

    Args:
        seed: any integer.
        share: the share of frames that are mixed.
    """
    rng = random.Random(seed)
    mixed, area, down, across = rng.random() < share, rng.random(), rng.random(), rng.random()
    if not mixed:
        return None
    rows, columns = round(height * math.sqrt(area)), round(width * math.sqrt(area))
    top, left = round(down * height) - rows // 2, round(across * width) - columns // 2
    return slice(max(0, top), max(0, top + rows)), slice(max(0, left), max(0, left + columns))


def paste(
    frame: Mapping[str, Tensor], other: Mapping[str, Tensor], box: tuple[slice, slice], tasks: Sequence[Task]
) -> dict[str, Tensor]:
    """Return a frame's tensors with those of another frame pasted into a box.

    Args:
        frame, other: in the form of :mod:`trainer.augment`, of the same size; a member that only one of them has is
            filled with "no label" in the other.
        tasks: the tasks whose labels frames may have.

    Returns:
        New tensors.
    """
    rows, columns = box
    size = frame["rgb"].shape[-2:]
    by_name = {task.name: task for task in tasks}
    mixed = {}
    for name in dict.fromkeys([*frame, *other]):
        example = frame.get(name, other.get(name))
        assert example is not None
        blank = learning(by_name[name]).blank(*size) if name in by_name else no_plane(name, example.shape[0], *size)
        mixed[name] = frame.get(name, blank).clone()
        mixed[name][..., rows, columns] = other.get(name, blank)[..., rows, columns]
    return mixed
