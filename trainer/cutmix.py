"""CutMix: a box of each training frame is replaced by that of another one, with all its labels.

Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (ICCV 2019), eq. 1
to 3; for segmentation as in French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations"
(BMVC 2020). Labels are pasted rather than mixed: they are of pixels.
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
    """Loads frames into which a box of another one is pasted.

    The other one is the frame at the position beside it, ``position ^ 1``, augmented as for itself. So what a frame
    looks like is still a pure function of (seed, epoch, position), on any number of ranks; every frame that is mixed
    makes one more to be decoded.

    Args:
        load: gives a position's key and tensors.
        order: of the samples.
        share: of the frames that are mixed.
        seed: of the run.
        tasks: whose labels may be there.
    """

    def __init__(
        self, load: Callable[[Position], Any], order: Order | Mixture, share: float, seed: int, tasks: Sequence[Task]
    ) -> None:
        self.load, self.order, self.share, self.seed, self.tasks = load, order, share, seed, tasks

    def __call__(self, place: Position) -> tuple[str, dict[str, Tensor]]:
        key, frame = self.load(place)
        box = draw_box(mix(self.seed, _CUTMIX, place.epoch, place.position), self.share, *frame["rgb"].shape[-2:])
        if box is None:
            return key, frame
        beside = place.position ^ 1
        try:
            found = self.order.locate(place.epoch, beside)
        except IndexError:  # the last position of an epoch of odd length
            return key, frame
        _, other = self.load(Position(place.epoch, beside, *found))
        if other["rgb"].shape != frame["rgb"].shape:
            return key, frame  # the batch says what to do about frames that differ in size
        return key, paste(frame, other, box, self.tasks)


def draw_box(seed: int, share: float, height: int, width: int) -> tuple[slice, slice] | None:
    """The rows and columns that are replaced, or None for a frame that stays whole.

    Args:
        seed: any integer.
        share: of the frames, from which a box is cut.
    """
    rng = random.Random(seed)
    mixed, area, down, across = rng.random() < share, rng.random(), rng.random(), rng.random()
    if not mixed:
        return None
    tall, wide = round(height * math.sqrt(area)), round(width * math.sqrt(area))
    top, left = round(down * height) - tall // 2, round(across * width) - wide // 2
    return slice(max(0, top), max(0, top + tall)), slice(max(0, left), max(0, left + wide))


def paste(
    frame: Mapping[str, Tensor], other: Mapping[str, Tensor], box: tuple[slice, slice], tasks: Sequence[Task]
) -> dict[str, Tensor]:
    """A frame's tensors with another frame's inside a box.

    Args:
        frame, other: in the form of :mod:`trainer.augment`, of the same size; what one of them alone has is filled up
            in the other with what stands for no label.
        tasks: whose labels may be there.

    Returns:
        New tensors.
    """
    rows, columns = box
    size = frame["rgb"].shape[-2:]
    known = {task.name: task for task in tasks}
    mixed = {}
    for name in dict.fromkeys([*frame, *other]):
        some = frame.get(name, other.get(name))
        assert some is not None
        nothing = learning(known[name]).blank(*size) if name in known else no_plane(name, some.shape[0], *size)
        own, its = (of.get(name, nothing) for of in (frame, other))
        mixed[name] = own.clone()
        mixed[name][..., rows, columns] = its[..., rows, columns]
    return mixed
