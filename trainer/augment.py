"""From a decoded sample to tensors, with or without random flip, zoom, crop and colour jitter.

A sample is a mapping of ``rgb``, uint8 ``(H, W, 3)``, and those labels that it has, in the form that
:mod:`shards.tasks` lists. Its tensors, one per member:

| member | tensor | no label |
|---|---|---|
| rgb | uint8 ``(3, H, W)``, a pixel's three numbers adjacent in memory where nothing was resized | |
| classes | uint8 ``(H, W)`` | 255 |
| scalar | float32 ``(1, H, W)`` | 0 |
| unit_vector | float32 ``(3, H, W)`` | the zero vector |
| binary | int16 ``(H, W)`` | 0 |
| TASK.* | uint8 ``(C, H, W)`` | |

The last row stands for the arrays beside a pseudo-label (:attr:`shards.labels.LabelShards.planes`).

The arithmetic is that of ``torchvision.transforms.v2.functional``. Its transform classes are not used: they draw
from torch's global random state, while a sample's augmentation here follows from one integer. Its tensor types are not
used either: a ``Mask`` is always resized by "nearest", which moves labels by up to a pixel against the image.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shards.errors import UserError
from shards.labels import absent_value
from shards.tasks import Task
from shards.window import Window
from trainer.kinds import learning
from trainer.sections import Augment
from trainer.vision import transforms as v2

Member = np.ndarray | Tensor


def _views(sample: Mapping[str, Member], tasks: Sequence[Task], window: Window | None = None) -> dict[str, Tensor]:
    """Return the sample's members, or a window of them, in the shapes of the table above. They share memory with the
    sample's arrays where possible."""
    by_name = {task.name: task for task in tasks}
    planes = [name for name in sample if name not in by_name and name.partition(".")[0] in by_name]
    views = {}
    for name in ("rgb", *by_name, *planes):
        if name not in sample:
            continue
        array = np.asarray(sample[name])
        array = array if window is None else window.cut(array)
        if not array.flags.writeable or min(array.strides) < 0:  # which torch does not support
            array = array.copy()
        view = torch.from_numpy(array)
        views[name] = learning(by_name[name]).view(view) if name in by_name else view.permute(2, 0, 1)
    return views


def _dense(name: str, view: Tensor, fresh: bool) -> Tensor:
    """Return a member contiguous in memory: a copy if ``fresh``, else shared where possible. RGB keeps the layout that
    decoders produce and convolutions prefer (channels_last): converting it here, and back for the network, takes
    milliseconds."""
    if name == "rgb":
        return _dense("", view.permute(1, 2, 0), fresh).permute(2, 0, 1)
    return view.clone(memory_format=torch.contiguous_format) if fresh else view.contiguous()


def no_plane(name: str, channels: int, height: int, width: int) -> Tensor:
    """Return the default of an array beside a pseudo-label, for frames without: full weights, or no soft labels."""
    return torch.full((channels, height, width), absent_value(name), dtype=torch.uint8)


def to_tensors(sample: Mapping[str, Member], tasks: Sequence[Task]) -> dict[str, Tensor]:
    """Return the tensors of an unchanged sample, for evaluation and labelling. They may share its memory."""
    return {name: _dense(name, view, fresh=False) for name, view in _views(sample, tasks).items()}


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a sample, a pure function of the sample and a seed.

    One window of the frame, ``crop / z`` large, is resized to ``crop`` and perhaps flipped, for every member alike:
    rgb bilinearly, labels by nearest neighbour. A missing member does not change how the others are augmented, so a
    frame is augmented in the same way with and without pseudo-labels.

    - *Zoom* by z makes things look z times nearer, so depth is divided by z (the reference recipe for NYUDv2), and
      *flip* mirrors directions. How each changes values is defined by the kind
      (:meth:`trainer.kinds.base.Learning.augmented`).
    - *Jitter* scales brightness, contrast and saturation, in random order, by factors in [1 - jitter, 1 + jitter].
      Hue is left alone: it would cost more than all the rest together.

    Args:
        tasks: the tasks whose labels are wanted, as targets or as inputs; other members are dropped.
        crop: height and width of the result; None keeps the frame's.
        options: what is changed, and how far; ``cutmix`` is that of :class:`trainer.cutmix.CutMix`.
    """

    tasks: tuple[Task, ...]
    crop: tuple[int, int] | None
    options: Augment

    def window(self, frame: tuple[int, int], seed: int) -> Window:
        """Return the part of a frame of this height and width that :meth:`__call__` uses with this seed.

        Raises:
            UserError: for a frame smaller than the crop.
        """
        return self._draw(frame, seed)[1]

    def _draw(self, frame: tuple[int, int], seed: int) -> tuple[random.Random, Window, float, bool]:
        """Return the sample's random stream and what is drawn from it first: window, zoom, and whether to mirror."""
        # Python's generator is fast to seed, has no global state, and its random() is guaranteed never to change.
        # All draws are made whatever is switched on, so that an option does not shift the draws of another.
        rng = random.Random(seed)
        mirrored = rng.random() < 0.5 and self.options.flip
        factors = self.options.zoom
        zoom = factors[int(rng.random() * len(factors))]
        down, across = rng.random(), rng.random()
        size = self.crop or frame
        if size[0] > frame[0] or size[1] > frame[1]:
            message = f"{size[0]}×{size[1]} is larger than the frame's {frame[0]}×{frame[1]}"
            raise UserError(message, key="crop", hint="crop no more than the frame has")
        height, width = (max(1, round(side / zoom)) for side in size)
        outer = (height, width) if self.options.zoom_window == "random" else size
        top, left = int(down * (frame[0] - outer[0] + 1)), int(across * (frame[1] - outer[1] + 1))
        top, left = top + (outer[0] - height) // 2, left + (outer[1] - width) // 2
        return rng, Window(top, left, height, width, frame), zoom, mirrored

    def __call__(
        self,
        sample: Mapping[str, Member],
        seed: int,
        frame: tuple[int, int] | None = None,
        *,
        in_place: bool = False,
    ) -> dict[str, Tensor]:
        """Return the augmented tensors of a sample.

        Args:
            sample: see the docstring of this module.
            seed: any integer that the caller derives from (seed, epoch, position).
            frame: height and width of the frame, where the sample holds only its :meth:`window`; None where the
                sample holds the whole frame.
            in_place: whether the sample may be changed, and the tensors may share its memory.

        Raises:
            UserError: for a frame smaller than the crop.
        """
        height, width = sample["rgb"].shape[:2]
        whole = frame or (height, width)
        rng, window, zoom, mirrored = self._draw(whole, seed)
        size = self.crop or whole
        tensors = {}
        for name, view in _views(sample, self.tasks, window if frame is None else None).items():
            tensor = _dense(name, view, fresh=not in_place)
            if tensor.shape[-2:] != size:
                # "Nearest exact" samples at pixel centres, as the bilinear filter does for the image.
                mode = v2.InterpolationMode.BILINEAR if name == "rgb" else v2.InterpolationMode.NEAREST_EXACT
                tensor = v2.functional.resize(tensor[None], list(size), mode)[0]
            tensors[name] = v2.functional.horizontal_flip(tensor) if mirrored else tensor
        for task in self.tasks:
            if task.name in tensors:
                tensors[task.name] = learning(task).augmented(tensors[task.name], zoom, mirrored)
        if self.options.jitter:
            tensors["rgb"] = self._jitter(tensors["rgb"], rng)
        if self.options.grey or self.options.blur:
            # a stream of its own, since the number of draws that jitter makes varies
            tensors["rgb"] = self._degrade(tensors["rgb"], random.Random(~seed))
        return tensors

    def _jitter(self, rgb: Tensor, rng: random.Random) -> Tensor:
        functional = v2.functional
        steps = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
        factors = [1 + self.options.jitter * (2 * rng.random() - 1) for _ in steps]
        for index in sorted(range(len(steps)), key=lambda _: rng.random()):
            rgb = steps[index](rgb, factors[index])
        return rgb

    def _degrade(self, rgb: Tensor, rng: random.Random) -> Tensor:
        grey, blur = rng.random() < self.options.grey, rng.random() < self.options.blur
        deviation = 0.1 + 1.9 * rng.random()
        if grey:
            rgb = v2.functional.rgb_to_grayscale(rgb, num_output_channels=3)
        if blur:
            side = 2 * math.ceil(2 * deviation) + 1
            rgb = v2.functional.gaussian_blur(rgb, [side, side], [deviation, deviation])
        return rgb
