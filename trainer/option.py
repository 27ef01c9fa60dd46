"""Properties of options, declared beside them in :mod:`trainer.config` and found here by dotted name.

All code that selects options by a property uses this module: which values are valid (:mod:`trainer.configvalues`), what
decides a result (:mod:`trainer.setting`), what a teacher takes over (:mod:`trainer.configfile`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import MISSING as NOT_SET
from omegaconf import OmegaConf

from shards.errors import UserError

_FACTS = "facts"
TASK = "TASK"
"""Placeholder for the name of any task in the dotted names of options."""


@dataclass(frozen=True)
class Facts:
    """The properties of an option; those of a section hold for all options in it that do not set their own.

    Args:
        choices: the valid values.
        custom: whether it may also name a user's own class, as ``my.module:Name``.
        least, most, above, below: range of a number: inclusive bounds, and exclusive ones; null is always in range.
        wrong: description of a value out of range, in place of one that is derived from the range.
        give: what to give instead, in words, in place of a hint that is derived from the range.
        check: raises a ``UserError`` for an invalid value; called with the value and the option's name.
        decides: whether it changes what a run computes; the others may change when a run is continued.
        inherited: whether a teacher takes it over from its student's command.
        path: whether a text is a path, in which ``~`` is the home folder.
        by_name: whether only the last part of a path counts, since the rest depends on the working directory.
        measured: whether it determines what a network is measured on, and how.
        row: whether networks that differ in it are meant to be different, and are different rows of a table.
        column: its name in the settings of a row, where that differs from the dotted name.
        former: its name in the same section before 0.2.
    """

    choices: tuple[Any, ...] = ()
    custom: bool = False
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    wrong: str = ""
    give: str = ""
    check: Callable[[Any, str], object] | None = None
    decides: bool | None = None
    inherited: bool | None = None
    path: bool = False
    by_name: bool = False
    measured: bool = False
    row: bool = False
    column: str = ""
    former: str = ""

    def problem(self, value: Any) -> tuple[str, str] | None:
        """Return what is wrong with a value by choices and range, and what to give instead; None for a valid value."""
        if self.choices and value not in self.choices and not (self.custom and ":" in str(value)):
            return f"{value!r} is unknown", f"use {'' if self.custom else 'one of '}{self._choices_in_words}"
        if value is None or not self.range_in_words:
            return None
        if self.least <= value <= self.most and self.above < value < self.below:
            return None
        if self.wrong or math.isinf(self.least):
            return f"{value} {self.wrong or 'is out of range'}", f"give {self.range_in_words}"
        if not value >= self.least:
            return f"{value} is less than {self.least:g}", f"give {self.least:g} or more"
        if math.isinf(value):
            return f"{value} is not a finite number", f"give {self.range_in_words}"
        largest = f"less than {_format_number(self.below)}" if math.isinf(self.most) else f"{self.most:g} or less"
        return f"{value} is too large", f"give {largest}"

    @property
    def allowed(self) -> str:
        """Choices and range in words; empty where any value of the type is valid."""
        return f"one of {self._choices_in_words}" if self.choices else self.range_in_words

    @property
    def range_in_words(self) -> str:
        """The range in words, such as ``1 or more``; empty without a range."""
        if self.give:
            return self.give
        if math.isfinite(self.least) and math.isfinite(self.most):
            return f"{self.least:g} to {self.most:g}"
        if math.isfinite(self.least) and math.isinf(self.below):
            return f"{self.least:g} or more"
        ends = {"at least": self.least, "more than": self.above, "less than": self.below, "at most": self.most}
        return " and ".join(f"{words} {_format_number(end)}" for words, end in ends.items() if math.isfinite(end))

    @property
    def _choices_in_words(self) -> str:
        choices = ", ".join("null" if choice is None else str(choice) for choice in self.choices)
        return f"{choices}, or my.module:Name for a class of your own" if self.custom else choices

    def within(self, section: "Facts") -> "Facts":
        """Return these facts, completed by those of the section they stand in."""
        return replace(
            self,
            decides=section.decides if self.decides is None else self.decides,
            inherited=section.inherited if self.inherited is None else self.inherited,
        )


def option(default: Any = MISSING, *, factory: Any = MISSING, **facts: Any) -> Any:
    """Declare a field of a configuration: its default, or a factory of it, and its :class:`Facts`."""
    metadata = {_FACTS: Facts(**facts)}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def facts_of(declared: Field[Any]) -> Facts:
    """Return the facts of a field of a dataclass, without those of its section."""
    own_facts: Facts = declared.metadata.get(_FACTS, Facts())
    return own_facts


def facts(schema: type, prefix: str = "", section: Facts = Facts(decides=True, inherited=True)) -> dict[str, Facts]:
    """Return the facts of every section and option of a configuration, by dotted name.

    A mapping by task is included twice: as a section, and with :data:`TASK` in its names.
    """
    hints, by_name = get_type_hints(schema), dict[str, Facts]()
    for declared in fields(schema):
        name, kind, entry = prefix + declared.name, hints[declared.name], facts_of(declared).within(section)
        if is_dataclass(kind):
            by_name |= {name: entry} | facts(kind, f"{name}.", entry)  # type: ignore[arg-type]
        elif get_origin(kind) is dict:
            by_name |= {name: entry, f"{name}.{TASK}": entry}
            for inner in filter(is_dataclass, get_args(kind)):
                by_name |= facts(inner, f"{name}.{TASK}.", entry)  # type: ignore[arg-type]
        else:
            by_name[name] = entry
    return by_name


def check_values(schema: type, values: Mapping[str, Any], prefix: str = "") -> None:
    """Check values that are passed to a function under the names of a section's options, after a prefix.

    Raises:
        UserError: naming the first that is of another type, or not valid by its choices, its range or its check.
    """
    declared, hints = facts(schema), get_type_hints(schema)
    for name, value in values.items():
        key = prefix + name
        if not _is_a(value, hints[name]):
            raise UserError(f"is {value!r}", key=key, hint=f"give {_type_in_words(hints[name])}")
        entry = declared[name]
        if problem := entry.problem(value):
            raise UserError(problem[0], key=key, hint=problem[1])
        if entry.check:
            entry.check(value, key)


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value has a declared type; an integer is also a number, and a tuple a list."""
    parts = get_args(kind)
    if get_origin(kind) is list:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return is_list and all(_is_a(part, parts[0]) for part in value)
    if get_origin(kind) is dict:
        return isinstance(value, Mapping) and all(_is_a(part, parts[1]) for part in value.values())
    if parts:
        return any(_is_a(value, part) for part in parts)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return kind is Any or isinstance(value, kind)


def _type_in_words(kind: Any) -> str:
    parts = get_args(kind)
    if get_origin(kind) in (list, dict):
        return f"a list of {parts[0].__name__}" if get_origin(kind) is list else f"{parts[1].__name__} by name"
    return " or ".join("None" if part is NoneType else part.__name__ for part in parts or (kind,))


def names(schema: type, condition: Callable[[Facts], object]) -> tuple[str, ...]:
    """Return the dotted names of sections and options that meet a condition; not those inside such a section."""
    selected: list[str] = []
    for name, entry in facts(schema).items():
        if condition(entry) and not is_in(name, selected):
            selected.append(name)
    return tuple(selected)


def values(schema: type, config: Any) -> Iterator[tuple[str, Any, Facts]]:
    """Yield the options of a configuration with values and facts; options by task for each task in the configuration.
    Options that are not set are left out. Lists and mappings are plain ones."""
    plain = OmegaConf.to_container(config)  # its values are found ten times as fast
    for path, entry in _options(schema):
        yield from ((key, value, entry) for key, value in _select(plain, path, ()))


@cache
def _options(schema: type) -> list[tuple[tuple[str, ...], Facts]]:
    """Return the names of all options, in parts, with their facts. Callers must not change the list."""
    by_name = facts(schema)
    return [(tuple(name.split(".")), entry) for name, entry in by_name.items() if f"{name}.{TASK}" not in by_name]


def _select(value: Any, path: tuple[str, ...], prefix: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not path:
        yield ".".join(prefix), value
        return
    for key in value if path[0] == TASK else path[:1]:
        if value[key] != NOT_SET:
            yield from _select(value[key], path[1:], (*prefix, str(key)))


def is_in(key: str, sections: Iterable[str]) -> bool:
    """Whether a dotted key is one of these sections and options, or inside one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def matches(key: str, name: str) -> bool:
    """Whether a dotted key matches a dotted name, in which :data:`TASK` stands for any task."""
    parts, pattern = key.split("."), name.split(".")
    return len(parts) == len(pattern) and all(p in (TASK, part) for part, p in zip(parts, pattern, strict=True))


def _format_number(number: float) -> str:
    """Format a number; a large power of two as ``2^N``."""
    power = int(number).bit_length() - 1
    return f"2^{power}" if power > 20 and number == 2**power else f"{number:g}"
