"""What is true of an option, said where it is declared (:mod:`trainer.config`), and found here by its dotted name.

Everything that has to know which options there are of a sort asks here: what a value may be
(:mod:`trainer.configvalues`), what decides a result (:mod:`trainer.setting`), what a teacher takes over
(:mod:`trainer.configfile`).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

_FACTS = "facts"
TASK = "TASK"
"""Stands for the name of any task in the dotted names of options."""


@dataclass(frozen=True)
class Facts:
    """What is true of an option; of a section, of all options in it that say nothing else.

    Args:
        choices: the values that it may have.
        own: whether it may also name something of a user's, as ``my.module:Name``.
        least, most, above, below: the range of a number, with and without its ends; null is always allowed by it.
        wrong: what a value out of range is called, where that is not said by the range.
        give: what to give instead, in words, where that is not said by the range.
        check: raises a ``UserError`` for a value that it cannot be, called with the value and the option's name.
        decides: whether it changes what a run computes; a run may be continued with another value of those that do not.
        inherited: whether a teacher takes it over from its student's command.
        path: whether a text is a path, in which ``~`` is the home folder.
        by_name: whether of a path its last part alone counts, since the rest depends on the working directory.
        measured: whether it says what a network is measured on, and how.
        row: whether networks that differ in it are meant to be different, and are different rows of a table.
        column: its name in the settings of a row, where that is another one than the dotted one.
        once: its name in the same section before 0.2.
    """

    choices: tuple[Any, ...] = ()
    own: bool = False
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
    once: str = ""

    def problem(self, value: Any) -> tuple[str, str] | None:
        """What is wrong with a value by its choices and range, and what to give instead; None if nothing is."""
        if self.choices and value not in self.choices and not (self.own and ":" in str(value)):
            return f"{value!r} is unknown", f"use {'' if self.own else 'one of '}{self._choices_in_words}"
        if value is None or not self.range_in_words:
            return None
        if self.least <= value <= self.most and self.above < value < self.below:
            return None
        if self.wrong or math.isinf(self.least):
            return f"{value} {self.wrong or 'is out of range'}", f"give {self.range_in_words}"
        if not value >= self.least:
            return f"{value} is less than {self.least:g}", f"give {self.least:g} or more"
        largest = f"less than {_spelt(self.below)}" if math.isinf(self.most) else f"{self.most:g} or less"
        return f"{value} is too large", f"give {largest}"

    @property
    def allowed(self) -> str:
        """Choices and range in words; empty where the type says all."""
        return f"one of {self._choices_in_words}" if self.choices else self.range_in_words

    @property
    def range_in_words(self) -> str:
        """Such as ``1 or more``; empty of what has none."""
        if self.give:
            return self.give
        if math.isfinite(self.least) and math.isfinite(self.most):
            return f"{self.least:g} to {self.most:g}"
        if math.isfinite(self.least) and math.isinf(self.below):
            return f"{self.least:g} or more"
        ends = {"at least": self.least, "more than": self.above, "less than": self.below, "at most": self.most}
        return " and ".join(f"{words} {_spelt(end)}" for words, end in ends.items() if math.isfinite(end))

    @property
    def _choices_in_words(self) -> str:
        known = ", ".join("null" if choice is None else str(choice) for choice in self.choices)
        return f"{known}, or my.module:Name for a class of your own" if self.own else known

    def within(self, section: "Facts") -> "Facts":
        """These facts, with those of a section where they say nothing."""
        return replace(
            self,
            decides=section.decides if self.decides is None else self.decides,
            inherited=section.inherited if self.inherited is None else self.inherited,
        )


def option(default: Any = MISSING, *, factory: Any = MISSING, **facts: Any) -> Any:
    """A field of a configuration: its default, or what makes it, and its :class:`Facts`."""
    metadata = {_FACTS: Facts(**facts)}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def facts_of(declared: Field[Any]) -> Facts:
    """The facts of a field of a dataclass, without those of its section."""
    found: Facts = declared.metadata.get(_FACTS, Facts())
    return found


def facts(schema: type, prefix: str = "", section: Facts = Facts(decides=True, inherited=True)) -> dict[str, Facts]:
    """Every section and option of a configuration by its dotted name, with its facts.

    A mapping by task stands there twice: as a section, and with :data:`TASK` in its names.
    """
    hints, found = get_type_hints(schema), dict[str, Facts]()
    for declared in fields(schema):
        name, kind, own = prefix + declared.name, hints[declared.name], facts_of(declared).within(section)
        if is_dataclass(kind):
            found |= {name: own} | facts(kind, f"{name}.", own)  # type: ignore[arg-type]
        elif get_origin(kind) is dict:
            found |= {name: own, f"{name}.{TASK}": own}
            for inner in filter(is_dataclass, get_args(kind)):
                found |= facts(inner, f"{name}.{TASK}.", own)  # type: ignore[arg-type]
        else:
            found[name] = own
    return found


def names(schema: type, wanted: Callable[[Facts], object]) -> tuple[str, ...]:
    """The dotted names of sections and options of which something is true; of a section's own options none."""
    found: list[str] = []
    for name, each in facts(schema).items():
        if wanted(each) and not is_in(name, found):
            found.append(name)
    return tuple(found)


def values(schema: type, config: Any) -> Iterator[tuple[str, Any, Facts]]:
    """The options of a configuration with their values and facts, those by task for each task that is there; an option
    that is not set is left out."""
    known = facts(schema)
    for name, each in known.items():
        if f"{name}.{TASK}" not in known:
            yield from ((key, value, each) for key, value in _select(config, name.split("."), ()))


def _select(value: Any, path: list[str], so_far: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not path:
        yield ".".join(so_far), value
        return
    name, *rest = path
    for each in value if name == TASK else (name,):
        if OmegaConf.is_missing(value, each):
            continue
        yield from _select(value[each], rest, (*so_far, str(each)))


def is_in(key: str, sections: Iterable[str]) -> bool:
    """Whether a dotted key is one of these, or stands under one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def matches(key: str, name: str) -> bool:
    """Whether a dotted key is what a dotted name stands for, whose :data:`TASK` may be any task."""
    parts, wanted = key.split("."), name.split(".")
    return len(parts) == len(wanted) and all(w in (TASK, part) for part, w in zip(parts, wanted, strict=True))


def _spelt(number: float) -> str:
    """A large power of two as such."""
    power = int(number).bit_length() - 1
    return f"2^{power}" if power > 20 and number == 2**power else f"{number:g}"
