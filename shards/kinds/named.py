"""What kinds share whose parts have names and colours: classes, masks."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shards.errors import UserError
from shards.kinds.base import Storage, is_whole


class NamedStorage(Storage):
    """A kind whose tasks name their parts, as :attr:`shards.tasks.Task.classes`, and give each a colour.

    Attributes:
        parts: what they are called, in manifests and messages.
        most: how many can be stored.
    """

    parts: ClassVar[str]
    most: ClassVar[int]
    confident = True
    smooth = False

    def problem(self) -> str | None:
        named, colours = len(self.task.classes), len(self.task.colours)
        if not 1 <= named <= self.most:
            return f"{named} {self.parts}, where 1 to {self.most} can be stored"
        return f"{colours} colours for {named} {self.parts}" if colours != named else None

    @property
    def channels(self) -> int:
        return len(self.task.classes)

    def to_json(self) -> dict[str, Any]:
        return {self.parts: list(self.task.classes), "colours": [list(colour) for colour in self.task.colours]}

    @classmethod
    def fields(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        colours = tuple((int(r), int(g), int(b)) for r, g, b in entry["colours"])
        return {"classes": tuple(entry[cls.parts]), "colours": colours}


def declared_colours(entry: Mapping[str, Any], count: int) -> tuple[tuple[int, ...], ...]:
    """The colours of an entry of ``dataset.yaml``, or a palette where it has none.

    Raises:
        UserError: when they are no colours.
    """
    colours = entry.get("colours", palette(count))
    if not is_list(colours) or not all(map(is_colour, colours)):
        raise UserError("colours are no list of [r, g, b] in 0..255", hint="give one for each class, or none")
    return tuple(tuple(colour) for colour in colours)


def palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """``count`` distinct colours for a data set that names none (the bit-reversal scheme of PASCAL VOC)."""
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
    return is_list(value) and len(value) == 3 and all(is_whole(each) and 0 <= each <= 255 for each in value)
