"""What every source of raw frames gives to :mod:`shards.pack`; :mod:`shards.sources.checked` looks whether it does."""

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
        rgb: uint8 ``(H, W, 3)``, or the source file's own bytes (JPEG, PNG or WebP of 8-bit RGB), which are kept as
            they are unless the frame is resized: :func:`shards.images.read_rgb` gives either of any image file. Of
            grey, uint8 ``(H, W)``, three equal channels are stored.
        labels: by task name, those labels that the frame has, as arrays in the form that
            :mod:`shards.tasks` lists, of the image's height and width. A frame without a label lacks its entry.
        meta: provenance and camera intrinsics, as JSON values: ``{"intrinsics": {"fx": ..., "fy": ..., "cx": ...,
            "cy": ...}}`` in pixels of the frame, where ``--normals`` shall be made.
        files: the raw file of ``rgb`` and of each label where it has one of its own, which errors then name.
    """

    rgb: np.ndarray | bytes
    labels: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


class Source(Protocol):
    """A data set in its raw form. It must survive pickling (it is sent to worker processes), so it opens
    files in :meth:`load` or lazily, never in its constructor for keeps."""

    @property
    def name(self) -> str:
        """The data set's name in the manifest."""
        ...

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks whose labels its frames may have."""
        ...

    @property
    def splits(self) -> Mapping[str, Sequence[str]]:
        """Keys of every split (``train``, ``val``), in a fixed order that follows from the data alone. Keys are
        unique over all splits and match ``[A-Za-z0-9_-]+`` (:func:`shards.codec.key_of` makes one of a file's stem)."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """Everything besides the raw data that the output follows from, as JSON values (provenance, and the proof
        that a restarted job continues the same thing)."""
        ...

    def load(self, split: str, position: int) -> Frame:
        """The frame of ``splits[split][position]``.

        Raises:
            BadFile: (:mod:`shards.errors`) when a file cannot be read: its frame is left out, named and counted. So it
                is with any other exception but a ``MemoryError``.
            UserError: for what is wrong of all frames, such as a declaration: the preparation ends.
        """
        ...


@runtime_checkable
class WithNotices(Protocol):
    """A source that has something to say to whoever prepares it."""

    def notices(self) -> list[str]:
        """Lines about what was left out or guessed, for the summary; empty where there is nothing to say."""
        ...


@runtime_checkable
class FromFiles(Protocol):
    """A source whose frames are files, so that a change of them since they were packed can be seen."""

    def files(self, split: str, position: int) -> Mapping[str, Path]:
        """The raw files, by their role, that ``load(split, position)`` would read."""
        ...
