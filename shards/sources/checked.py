"""Checks of sources, in one place: of their parts before anything is packed, and of each frame when it is loaded.

:func:`shards.pack.pack` passes every source through :func:`check_source`, shipped ones too. An error is a ``UserError``
that names the file of the source's class, split and key, and the label. An exception of any other type that ``load``
raises becomes a :class:`shards.errors.BadFile`: this frame cannot be read, and others may be good.
"""

import difflib
import inspect
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import BadFile, UserError
from shards.form import a_type, check_array, check_json
from shards.images import CONVERTED, check_bytes
from shards.notes import member_context, note
from shards.origin import Origin
from shards.owncode import name_errors, own_code
from shards.sources.base import Frame, FromFiles, Source, WithNotices
from shards.sources.parts import check_load, splits_of, tasks_of
from shards.tasks import Task

_PARTS = ("name", "tasks", "splits", "options", "load")
_USES = {"train": "learnt from", "val": "measured on"}
_CORRECT = "correct it; --debug shows where it was called"
_RGB = np.zeros((1, 1, 3), np.uint8)
_ABSENT = object()


def check_source(source: Source) -> "CheckedSource":
    """Check the parts of a source, and return it with checks of its frames.

    Raises:
        UserError: when a part does not conform to :class:`shards.sources.base.Source`.
    """
    return source if isinstance(source, CheckedSource) else CheckedSource(source)


class CheckedSource:
    """A source whose parts have been checked, and whose frames are checked when they are loaded."""

    def __init__(self, source: Source) -> None:
        self.source, self.origin = source, Origin.of_source(source)
        self._outside = not type(source).__module__.startswith("shards.")
        with name_errors(self.origin, self.origin.name):
            parts = {name: self._part(name) for name in _PARTS}
            missing = [name for name, part in parts.items() if part is _ABSENT]
            if missing:
                hint = "give it what shards.sources.base.Source lists"
                raise UserError(f"lacks {', '.join(missing)}", hint=hint)
            self.name: str = parts["name"]
            self.tasks: tuple[Task, ...] = tasks_of(parts["tasks"])
            self.splits: dict[str, Sequence[str]] = splits_of(parts["splits"])
            self.options: dict[str, Any] = parts["options"]
            if not isinstance(self.name, str) or not self.name:
                raise UserError(f"name {self.name!r} is not a name", hint="give the data set's, as text")
            if not isinstance(self.options, dict):
                raise UserError(f"options is {a_type(self.options)}, not a dict", hint="give {} where there are none")
            check_json(self.options, "options")
            check_load(parts["load"])

    def notices(self) -> list[str]:
        """Return the source's own notices, what is assumed of its tasks, and which splits that runs need have no
        frames."""
        notices = [
            f"splits: {split} has no frames, so nothing can be {use} it; the splits of a run are train and val, "
            f"and these are {', '.join(self.splits)}"
            for split, use in _USES.items()
            if not self.splits.get(split)
        ]
        if self._outside:  # shipped sources declare their tasks, or report what they assume themselves
            notices = [f"{task.name}: {line}" for task in self.tasks for line in _assumptions(task)] + notices
        if isinstance(self.source, WithNotices):
            with self._called("notices", self.origin.name):
                lines = self.source.notices()
                notices = [*([lines] if isinstance(lines, str) else map(str, lines)), *notices]
        return list(dict.fromkeys(notices))

    @property
    def from_files(self) -> bool:
        """Whether changes of its raw files can be detected."""
        return isinstance(self.source, FromFiles)

    def files(self, split: str, position: int) -> dict[str, Path]:
        """Return the raw files of a frame, by role; empty where the source does not provide them."""
        if not isinstance(self.source, FromFiles):
            return {}
        with self._called("files", f"{split}/{self.splits[split][position]}"):
            return {role: Path(path) for role, path in self.source.files(split, position).items()}

    def name_errors(self, split: str, position: int) -> AbstractContextManager[None]:
        """Add the source's file, the split and the key to errors inside the block that name no file."""
        return name_errors(self.origin, f"{split}/{self.splits[split][position]}")

    def load(self, split: str, position: int) -> Frame:
        """Return the frame of ``splits[split][position]``, with labels in the form of their kinds.

        Raises:
            UserError: when it is not a frame of the source's tasks; ``BadFile`` when ``load`` raised another exception.
        """
        key = self.splits[split][position]
        hint = "correct load, or restore what the frame is read from"
        with self._called("load", f"{split}/{key}", hint, BadFile):
            frame = self.source.load(split, position)
        with self.name_errors(split, position):
            if not isinstance(frame, Frame):
                message = f"load returned {a_type(frame)}, not a Frame"
                raise UserError(message, hint="return shards.sources.base.Frame(rgb, labels)")
            for part in ("labels", "meta", "files"):
                if not isinstance(getattr(frame, part), Mapping):
                    raise UserError(f"{part} is {a_type(getattr(frame, part))}, not a dict", hint="give {} for none")
            check_json(frame.meta, "meta")
            with member_context("rgb", frame.files.get("rgb"), key):
                rgb = _rgb(frame.rgb)
                if self._outside and isinstance(rgb, bytes):  # those of shipped sources come from read_rgb
                    check_bytes(rgb)
            labels = {name: self._label(frame, name, key) for name in frame.labels if frame.labels[name] is not None}
            return Frame(rgb, labels, dict(frame.meta), dict(frame.files))

    def need_pickling(self) -> None:
        """Check that the source can be sent to worker processes.

        Raises:
            UserError: when it cannot.
        """
        if self.origin.module == "__main__" and not self.origin.path:  # defined in a notebook or at a prompt
            message = "is in no file that worker processes could import"
            raise UserError(message, file=self.origin.name, hint="write it into a module, or give jobs=1")
        hint = "open files in load and not in the constructor, or give --jobs 1"
        with self._called("pickling it for worker processes", self.origin.name, hint):
            pickle.dumps(self.source)

    @contextmanager
    def _called(self, call: str, key: str, hint: str = _CORRECT, kind: type[UserError] = UserError) -> Iterator[None]:
        """Name the source's file and the key in errors inside the block, and turn other exceptions into such errors."""
        with name_errors(self.origin, key), own_code(self.origin, key, call=call, hint=hint, kind=kind, shipped=True):
            yield

    def _part(self, name: str) -> Any:
        with self._called(name, self.origin.name):
            if inspect.getattr_static(self.source, name, _ABSENT) is _ABSENT and not hasattr(self.source, name):
                return _ABSENT
            part = getattr(self.source, name)
        if name != "load" and inspect.isroutine(part):
            raise UserError(f"{name} is a method, expected its value", hint="write @property over it")
        return part

    def _label(self, frame: Frame, name: str, key: str) -> np.ndarray:
        task = next((task for task in self.tasks if task.name == name), None)
        if task is None:
            names = [task.name for task in self.tasks]
            closest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.0)[0]
            hint = f"did you mean {closest}? its tasks: {', '.join(names)}"
            raise UserError(f"has a label {name!r}, which is not one of its tasks", hint=hint)
        label = frame.labels[name]
        with member_context(name, frame.files.get(name), key):
            task.storage.check(label)
            return task.storage.examined(label) if self._outside else label


def _assumptions(task: Task) -> list[str]:
    """Return what is assumed of a task that a user's source makes, as sentences."""
    try:
        return task.storage.guesses(() if task.zoom_assumed else ("zoom",))
    except UserError as error:  # of a folder, it has to be declared
        return [f"{error.what}: zoom: {task.zoom} is assumed; {error.hint}"]


def _rgb(rgb: Any) -> np.ndarray | bytes:
    """Check the RGB of a frame, and convert grey ``(H, W)`` to three equal channels."""
    if isinstance(rgb, bytes):
        return rgb
    if isinstance(rgb, np.ndarray) and rgb.ndim == 2 and rgb.dtype == np.uint8 and not np.ma.isMaskedArray(rgb):
        note(CONVERTED["L"], detail="L")
        rgb = np.repeat(rgb[..., None], 3, -1)
    check_array(rgb, _RGB, exact=True)
    return rgb
