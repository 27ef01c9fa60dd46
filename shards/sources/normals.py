"""Any source whose frames have depth and intrinsics, with surface normals as one more task."""

from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.normals import normals_of
from shards.sources.base import Frame, Source
from shards.sources.checked import checked
from shards.tasks import Task

NORMALS = Task("normals", "unit_vector")


class WithNormals:
    """A source with a label ``normals`` on every frame that has depth (:func:`shards.normals.normals_of`).

    Args:
        source: whose one scalar task with the zoom ``divide`` is depth, and whose frames hold ``intrinsics`` in their
            ``meta``.
        window: of the planes that are fitted, in pixels of the source's own frames.

    Raises:
        UserError: when the source has no such task, or normals of its own, or the window is none.
    """

    def __init__(self, source: Source, window: int = 3) -> None:
        source = checked(source)
        if window < 3 or window % 2 == 0:
            raise UserError(f"{window} pixels", key="--window", hint="give an odd number from 3 up")
        metric = [task.name for task in source.tasks if task.storage.quantity and task.zoom == "divide"]
        if len(metric) != 1:
            what = f"normals follow from depth, but the scalar tasks are {', '.join(metric) or 'none'}"
            raise UserError(what, key="--normals", hint="declare depth as the one scalar task")
        if NORMALS.name in [task.name for task in source.tasks]:
            hint = "leave the option out, or the task out of the data"
            raise UserError("the data have normals of their own", key="--normals", hint=hint)
        self.source, self.depth, self.window = source, metric[0], window
        self.name, self.splits = source.name, source.splits
        self.tasks: tuple[Task, ...] = (*source.tasks, NORMALS)
        self.options: dict[str, Any] = {**source.options, "normals": {"of": self.depth, "window": window}}

    def notices(self) -> list[str]:
        """The source's own."""
        return self.source.notices()

    def files(self, split: str, position: int) -> dict[str, Path]:
        """The source's own raw files; none where it has none."""
        return self.source.files(split, position)

    def load(self, split: str, position: int) -> Frame:
        """The source's frame with its normals.

        Raises:
            UserError: the source's own, and when a frame with depth has no intrinsics.
        """
        frame = self.source.load(split, position)
        if self.depth in frame.labels:
            if "intrinsics" not in frame.meta:
                what = "normals need the camera's intrinsics, which are not known"
                hint = "give --intrinsics FX,FY,CX,CY, in pixels of the frames as they are; a source: in Frame.meta"
                raise UserError(what, file=frame.files.get(self.depth), key=self.splits[split][position], hint=hint)
            frame.labels[NORMALS.name] = normals_of(frame.labels[self.depth], frame.meta["intrinsics"], self.window)
        return frame
