"""Base class of kinds whose parts have names and colours: classes, masks."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shards.errors import UserError
from shards.kinds.base import Storage
from shards.kinds.distinct import distinct_colours
from shards.kinds.text import is_whole


class NamedStorage(Storage):
    """A kind whose tasks name their parts, as :attr:`shards.tasks.Task.classes`, and give each a colour.

    Attributes:
        parts: the word for the parts in manifests and messages.
        max_parts: the largest number of parts that can be stored.
    """

    parts: ClassVar[str]
    max_parts: ClassVar[int]
    confident = True
    smooth = False

    def problem(self) -> str | None:
        count, colours = len(self.task.classes), len(self.task.colours)
        if not 1 <= count <= self.max_parts:
            return f"{count} {self.parts}, where 1 to {self.max_parts} can be stored"
        return f"{colours} colours for {count} {self.parts}" if colours != count else None

    @property
    def channels(self) -> int:
        return len(self.task.classes)

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """The colours of pictures: those of the task, unless they are only the default ones."""
        default = self.task.colours == palette(self.channels)
        return distinct_colours(self.channels) if default else self.task.colours

    def to_json(self) -> dict[str, Any]:
        return {self.parts: list(self.task.classes), "colours": [list(colour) for colour in self.task.colours]}

    @classmethod
    def fields(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        colours = tuple((int(r), int(g), int(b)) for r, g, b in entry["colours"])
        return {"classes": tuple(entry[cls.parts]), "colours": colours}


def declared_colours(entry: Mapping[str, Any], count: int) -> tuple[tuple[int, ...], ...]:
    """Return the colours of an entry of ``dataset.yaml``, or a palette where it has none.

    Raises:
        UserError: when they are not valid colours.
    """
    colours = entry.get("colours", palette(count))
    if not is_list(colours) or not all(map(is_colour, colours)):
        raise UserError("colours is not a list of [r, g, b] in 0..255", hint="give one for each class, or none")
    return tuple(tuple(colour) for colour in colours)


def palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return ``count`` colours for a data set that declares none (the bit-reversal scheme of PASCAL VOC). Some of them
    look alike, so that pictures have :func:`shards.kinds.distinct.distinct_colours` in their place."""
    colours = []
    for index in range(1, count + 1):
        rgb, value = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (value >> channel & 1) << bit
            value >>= 3
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)


def is_list(value: Any) -> bool:
    """Whether a value of YAML is a list."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def is_colour(value: Any) -> bool:
    """Whether a value of YAML is ``[r, g, b]``."""
    return is_list(value) and len(value) == 3 and all(is_whole(part) and 0 <= part <= 255 for part in value)
