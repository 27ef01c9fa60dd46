"""Surface normals as an additional task of any source whose frames have depth and intrinsics."""

from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.normals import normals_of
from shards.sources.base import Frame, Source
from shards.sources.checked import check_source
from shards.tasks import Task

NORMALS = Task("normals", "unit_vector")


class WithNormals:
    """A source with a label ``normals`` on every frame that has depth (:func:`shards.normals.normals_of`).

    Args:
        source: a source with exactly one scalar task with zoom ``divide``, which is depth, and whose frames have
            ``intrinsics`` in ``meta``.
        window: side of the window that planes are fitted in, in pixels of the source's frames.

    Raises:
        UserError: when the source has no such task or normals of its own, or the window is not valid.
    """

    def __init__(self, source: Source, window: int = 3) -> None:
        source = check_source(source)
        if window < 3 or window % 2 == 0:
            raise UserError(f"{window} pixels", key="--window", hint="give an odd number from 3 up")
        depths = [task.name for task in source.tasks if task.storage.is_depth]
        if len(depths) != 1:
            message = f"normals follow from depth, but the scalar tasks are {', '.join(depths) or 'none'}"
            raise UserError(message, key="--normals", hint="declare depth as the one scalar task")
        if NORMALS.name in [task.name for task in source.tasks]:
            hint = "leave the option out, or the task out of the data"
            raise UserError("the data have normals of their own", key="--normals", hint=hint)
        self.source, self.depth, self.window = source, depths[0], window
        self.name, self.splits = source.name, source.splits
        self.tasks: tuple[Task, ...] = (*source.tasks, NORMALS)
        self.options: dict[str, Any] = {**source.options, "normals": {"of": self.depth, "window": window}}

    def notices(self) -> list[str]:
        """Return the source's own notices."""
        return self.source.notices()

    def files(self, split: str, position: int) -> dict[str, Path]:
        """Return the source's own raw files; empty where it has none."""
        return self.source.files(split, position)

    def load(self, split: str, position: int) -> Frame:
        """Return the source's frame with its normals.

        Raises:
            UserError: errors of the source, and when a frame with depth has no intrinsics.
        """
        frame = self.source.load(split, position)
        if self.depth in frame.labels:
            if "intrinsics" not in frame.meta:
                message = "normals need the camera's intrinsics, which are not known"
                hint = "give --intrinsics FX,FY,CX,CY, in pixels of the frames as they are; a source: in Frame.meta"
                raise UserError(message, file=frame.files.get(self.depth), key=self.splits[split][position], hint=hint)
            frame.labels[NORMALS.name] = normals_of(frame.labels[self.depth], frame.meta["intrinsics"], self.window)
        return frame
