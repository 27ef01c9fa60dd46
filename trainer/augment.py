"""From a decoded sample to tensors, with or without random flip, zoom, crop and colour jitter.

A sample is a mapping of ``rgb``, uint8 ``(H, W, 3)``, and those labels that it has, in the form that
:mod:`shards.tasks` lists. Its tensors, a member for a member:

| member | tensor | no label |
|---|---|---|
| rgb | uint8 ``(3, H, W)``, a pixel's three numbers together in memory where nothing was resized | |
| classes | uint8 ``(H, W)`` | 255 |
| scalar | float32 ``(1, H, W)`` | 0 |
| unit_vector | float32 ``(3, H, W)`` | the zero vector |
| binary | int16 ``(H, W)`` | 0 |
| TASK.* | uint8 ``(C, H, W)`` | |

The last are arrays that stand beside a pseudo-label (:attr:`shards.labels.LabelShards.planes`).

The arithmetic is that of ``torchvision.transforms.v2.functional``. Its transform classes are not used: they draw
from torch's global random state, while a sample's augmentation here follows from one integer. Nor are its
tensor types: a ``Mask`` is always resized by "nearest", which moves labels by up to a pixel against the image.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shards.errors import UserError
from shards.labels import WEIGHT
from shards.soft import STEPS
from shards.tasks import Task
from shards.window import Window
from trainer.kinds import learning
from trainer.vision import transforms as v2

Member = np.ndarray | Tensor
ZOOM_WINDOWS = ("random", "centre")


def _views(sample: Mapping[str, Member], tasks: Sequence[Task], window: Window | None = None) -> dict[str, Tensor]:
    """The sample's members, or what a window of them holds, in the shapes of the table above, sharing memory with its
    arrays where they can."""
    known = {task.name: task for task in tasks}
    planes = [name for name in sample if name not in known and name.partition(".")[0] in known]
    views = {}
    for name in ("rgb", *known, *planes):
        if name not in sample:
            continue
        array = np.asarray(sample[name])
        array = array if window is None else window.cut(array)
        if not array.flags.writeable:  # as a decoder's may be, which torch does not know
            array = array.copy()
        view = torch.from_numpy(array)
        views[name] = learning(known[name]).view(view) if name in known else view.permute(2, 0, 1)
    return views


def _dense(name: str, view: Tensor, fresh: bool) -> Tensor:
    """A member without gaps in memory, as a copy or sharing it where it can. A picture keeps the layout in which
    decoders give pixels and convolutions want them (channels_last): to turn it here, and back for the network, takes
    milliseconds."""
    if name == "rgb":
        return _dense("", view.permute(1, 2, 0), fresh).permute(2, 0, 1)
    return view.clone(memory_format=torch.contiguous_format) if fresh else view.contiguous()


def no_plane(name: str, channels: int, height: int, width: int) -> Tensor:
    """What stands for an array beside a pseudo-label in a frame that has none: a full weight, or no soft label."""
    value = STEPS if name.endswith(f".{WEIGHT}") else 0
    return torch.full((channels, height, width), value, dtype=torch.uint8)


def to_tensors(sample: Mapping[str, Member], tasks: Sequence[Task]) -> dict[str, Tensor]:
    """The sample as it is, for evaluation and labelling. The result may share its memory."""
    return {name: _dense(name, view, fresh=False) for name, view in _views(sample, tasks).items()}


@dataclass(frozen=True)
class Augment:
    """Random augmentation of a sample, a pure function of the sample and a seed.

    One window of the frame, ``crop / z`` large, is resized to ``crop`` and perhaps flipped, for every member alike:
    rgb bilinearly, labels by nearest neighbour. The reference recipe for NYUDv2 flips, and zooms about the centre;
    windows at random places and jitter are additions. What a sample lacks does not change what happens to the rest,
    so a frame with pseudo-labels is augmented as it is without.

    - *Zoom* by z makes things look z times nearer, so depth is divided by z (the reference recipe for NYUDv2), and
      *flip* mirrors directions: what either does to values each kind says
      (:meth:`trainer.kinds.base.Learning.augmented`).
    - *Grey* takes the colour of a share of the frames, *blur* smooths a share with a Gaussian of 0.1 to 2 pixels.
    - *Jitter* scales brightness, contrast and saturation, in random order, by factors in [1 - jitter, 1 + jitter].
      Hue is left alone: it would cost more than all the rest together.

    Args:
        tasks: the tasks whose labels are wanted, as targets or as inputs; other members are dropped.
        crop: height and width of the result; None keeps the frame's.
        flip: whether to mirror every other sample.
        zoom: the factors to choose from, each at least 1; ``(1.0,)`` for no zoom.
        zoom_window: ``random``: the window lies anywhere in the frame. ``centre``: at the centre of a crop that lies
            anywhere, hence of the frame where nothing is cropped.
        jitter: strength of the colour jitter, 0 (none) to 1.
        grey, blur: shares of frames, 0 to 1.

    Raises:
        UserError: for a zoom below 1, an unknown zoom window, a jitter outside 0 to 1, or a frame smaller than the
            crop.
    """

    tasks: tuple[Task, ...]
    crop: tuple[int, int] | None = None
    flip: bool = True
    zoom: tuple[float, ...] = (1.0, 1.2, 1.5)
    jitter: float = 0.0
    zoom_window: str = "random"
    grey: float = 0.0
    blur: float = 0.0

    def __post_init__(self) -> None:
        if not self.zoom or min(self.zoom) < 1:
            raise UserError(
                f"{list(self.zoom)} has no factor, or one below 1", key="augment.zoom", hint="use [1.0] for none"
            )
        if self.zoom_window not in ZOOM_WINDOWS:
            hint = f"use one of {', '.join(ZOOM_WINDOWS)}"
            raise UserError(f"{self.zoom_window!r} is unknown", key="augment.zoom_window", hint=hint)
        if not 0 <= self.jitter <= 1:
            raise UserError(f"{self.jitter} is outside 0 to 1", key="augment.jitter", hint="use 0 for none")

    def window(self, frame: tuple[int, int], seed: int) -> Window:
        """The part of a frame, of a height and width, that :meth:`__call__` uses with this seed.

        Raises:
            UserError: for a frame smaller than the crop.
        """
        return self._drawn(frame, seed)[1]

    def _drawn(self, frame: tuple[int, int], seed: int) -> tuple[random.Random, Window, float, bool]:
        """The sample's random stream, and what it says first: a window, the zoom, and whether to mirror."""
        # Python's generator: fast to seed, no global state, and the one whose random() is promised never to
        # change. All draws are made whatever is switched on, so an option does not shift those of another.
        rng = random.Random(seed)
        mirrored = rng.random() < 0.5 and self.flip
        zoom = self.zoom[int(rng.random() * len(self.zoom))]
        down, across = rng.random(), rng.random()
        size = self.crop or frame
        if size[0] > frame[0] or size[1] > frame[1]:
            what = f"{size[0]}×{size[1]} is larger than the frame's {frame[0]}×{frame[1]}"
            raise UserError(what, key="data.crop", hint="crop no more than the frame has")
        height, width = (max(1, round(side / zoom)) for side in size)
        room = (height, width) if self.zoom_window == "random" else size
        top, left = int(down * (frame[0] - room[0] + 1)), int(across * (frame[1] - room[1] + 1))
        top, left = top + (room[0] - height) // 2, left + (room[1] - width) // 2
        return rng, Window(top, left, height, width, frame), zoom, mirrored

    def __call__(
        self, sample: Mapping[str, Member], seed: int, frame: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        """The augmented tensors of ``sample``, fresh ones.

        Args:
            sample: see the top of this file.
            seed: any integer that the caller derives from (seed, epoch, position).
            frame: height and width of the frame of which the sample holds just the :meth:`window`; None where it
                holds the whole frame.

        Raises:
            UserError: for a frame smaller than the crop.
        """
        height, width = sample["rgb"].shape[:2]
        whole = frame or (height, width)
        rng, window, zoom, mirrored = self._drawn(whole, seed)
        size = self.crop or whole
        tensors = {}
        for name, view in _views(sample, self.tasks, window if frame is None else None).items():
            tensor = _dense(name, view, fresh=True)
            if tensor.shape[-2:] != size:
                # "Nearest exact" samples at pixel centres, as the bilinear filter does for the image.
                how = v2.InterpolationMode.BILINEAR if name == "rgb" else v2.InterpolationMode.NEAREST_EXACT
                tensor = v2.functional.resize(tensor[None], list(size), how)[0]
            tensors[name] = v2.functional.horizontal_flip(tensor) if mirrored else tensor
        for task in self.tasks:
            if task.name in tensors:
                tensors[task.name] = learning(task).augmented(tensors[task.name], zoom, mirrored)
        if self.jitter:
            tensors["rgb"] = self._jittered(tensors["rgb"], rng)
        if self.grey or self.blur:
            tensors["rgb"] = self._degraded(tensors["rgb"], random.Random(~seed))  # how many draws jitter makes varies
        return tensors

    def _jittered(self, rgb: Tensor, rng: random.Random) -> Tensor:
        adjust = v2.functional
        steps = [adjust.adjust_brightness, adjust.adjust_contrast, adjust.adjust_saturation]
        factors = [1 + self.jitter * (2 * rng.random() - 1) for _ in steps]
        for index in sorted(range(len(steps)), key=lambda _: rng.random()):
            rgb = steps[index](rgb, factors[index])
        return rgb

    def _degraded(self, rgb: Tensor, rng: random.Random) -> Tensor:
        grey, blur, deviation = rng.random() < self.grey, rng.random() < self.blur, 0.1 + 1.9 * rng.random()
        if grey:
            rgb = v2.functional.rgb_to_grayscale(rgb, num_output_channels=3)
        if blur:
            side = 2 * math.ceil(2 * deviation) + 1
            rgb = v2.functional.gaussian_blur(rgb, [side, side], [deviation, deviation])
        return rgb
