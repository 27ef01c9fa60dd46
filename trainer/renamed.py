"""Options that had another name before 0.2, which the resolved configurations of older runs still contain.

In a user's configuration, an old name is an error that gives the new one.
"""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeVar

from shards.errors import UserError
from shards.keep import Keep
from trainer.config import Config
from trainer.definition import VERSION, check_version
from trainer.option import facts as facts_by_name
from trainer.sections import Pseudo

_Options = TypeVar("_Options", bound=MutableMapping[str, Any])

RENAMED = {
    f"{name.rpartition('.')[0]}.{facts.former}".removeprefix("."): name
    for name, facts in facts_by_name(Config).items()
    if facts.former
}
"""New names by old ones, each in the same section."""
_BEFORE_KEEP = ("threshold", "quantile")
"""Options of ``pseudo.TASK`` that ``keep`` replaced."""


def rename_old_options(options: _Options) -> _Options:
    """Rename a run's options, in place, to their present names; returns the same mapping."""
    for old, new in RENAMED.items():
        section, _, name = old.rpartition(".")
        owner = (options.get(section) or {}) if section else options
        if name in owner:
            owner[new.rpartition(".")[2]] = owner.pop(name)
    pseudo = options.get("pseudo")
    for entry in pseudo.values() if isinstance(pseudo, MutableMapping) else ():
        if any(name in entry for name in _BEFORE_KEEP):
            threshold, quantile = (entry.pop(name, None) for name in _BEFORE_KEEP)
            entry["keep"] = _keep(threshold, quantile)
    return options


def remove_version(options: _Options, file: str | Path) -> _Options:
    """Remove the version of a run's network from its options, in place; returns the same mapping.

    Args:
        options: of a run.
        file: the file that they are from, for errors.

    Raises:
        UserError: for another version than that of all networks now. Runs of the first have no options of a decoder.
    """
    model = options.get("model")
    if isinstance(model, MutableMapping) and model:
        first = "version" not in model and not model.keys() & {"decoder", "widths"}
        check_version(model.pop("version", 1 if first else VERSION), file, "model.version")
    return options


def new_spelling(key: str, options: Mapping[str, Any], equals: str) -> str | None:
    """Return a hint what to write in place of an old option; None where it is not an old option.

    Args:
        key: the dotted option.
        options: the configuration that contains it.
        equals: the text between an option and its value in that file.
    """
    if key in RENAMED:
        return f"did you mean {RENAMED[key]}?"
    section, _, name = key.rpartition(".")
    if not section.startswith("pseudo.") or name not in _BEFORE_KEEP:
        return None
    try:
        entry = options["pseudo"][section.partition(".")[2]]
        threshold, quantile = (None if entry.get(old) is None else float(entry[old]) for old in _BEFORE_KEEP)
        keep = _keep(threshold, quantile)
    except (UserError, LookupError, ValueError, TypeError, AttributeError):
        keep = Pseudo.keep
    return f"write {section}.keep{equals}{keep}"


def _keep(threshold: float | None, quantile: float | None) -> Any:
    """Return the value of ``keep`` that selects the same; a quantile came before a threshold."""
    return Keep(threshold).value if quantile is None else Keep(quantile=quantile).value
