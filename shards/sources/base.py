"""The interface of sources of raw frames for :mod:`shards.pack`; :mod:`shards.sources.checked` checks it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from shards.tasks import Task


@dataclass
class Frame:
    """One raw frame at its original size.

    Args:
        rgb: uint8 ``(H, W, 3)``, or the source file's own bytes (JPEG, PNG or WebP of 8-bit RGB), which are stored
            unchanged unless the frame is resized. :func:`shards.images.read_rgb` returns one of them for any image
            file. A grey image, uint8 ``(H, W)``, is stored as three equal channels.
        labels: the labels that the frame has, by task name, as arrays in the form that :mod:`shards.tasks` lists and
            of the image's height and width. Labels that the frame lacks are absent.
        meta: provenance and camera intrinsics, as JSON values. ``--normals`` needs ``{"intrinsics": {"fx": ...,
            "fy": ..., "cx": ..., "cy": ...}}`` in pixels of the frame.
        files: the raw files of ``rgb`` and of labels, by name, for error messages.
    """

    rgb: np.ndarray | bytes
    labels: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


class Source(Protocol):
    """A data set in its raw form. It is sent to worker processes, so it must support pickling: open files in
    :meth:`load` or lazily, and keep none open from the constructor on."""

    @property
    def name(self) -> str:
        """The data set's name in the manifest."""
        ...

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that frames may have labels for."""
        ...

    @property
    def splits(self) -> Mapping[str, Sequence[str]]:
        """Keys of every split (``train``, ``val``), in a fixed order that depends on the data alone. Keys are unique
        over all splits and match ``[A-Za-z0-9_-]+``; :func:`shards.codec.key_of` makes one from a file's stem."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """Everything besides the raw data that determines the output, as JSON values: provenance, and the check that a
        restarted job has the same options."""
        ...

    def load(self, split: str, position: int) -> Frame:
        """Return the frame of ``splits[split][position]``.

        Raises:
            BadFile: (:mod:`shards.errors`) when a file cannot be read: the frame is left out, named and counted. Any
                other exception except ``MemoryError`` has the same effect.
            UserError: for an error that concerns all frames, such as a declaration: the preparation ends.
        """
        ...


@runtime_checkable
class WithNotices(Protocol):
    """A source that provides notices for the summary of a preparation."""

    def notices(self) -> list[str]:
        """Return lines about what was left out or guessed, for the summary; empty where there are none."""
        ...


@runtime_checkable
class FromFiles(Protocol):
    """A source whose frames are files, so that changes since they were packed can be detected."""

    def files(self, split: str, position: int) -> Mapping[str, Path]:
        """Return the raw files that ``load(split, position)`` would read, by role."""
        ...
