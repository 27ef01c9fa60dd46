"""What is wrong with a configuration, in plain words: for the errors of :mod:`trainer.configfile`."""

import difflib
import re
from dataclasses import is_dataclass
from typing import Any, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf

from trainer.config import Config
from trainer.configdocs import documentation
from trainer.option import matches


def meant_instead(unknown: str) -> str:
    """Return the hint of an error for an option that is unknown, or that is written as one key: ``train.lr: 1`` in a
    file."""
    if any(matches(unknown, key) for key in documentation()):
        *sections, name = unknown.split(".")
        opening = "".join(f"{section}: {{" for section in sections)
        return f"write it nested, {opening}{name}: ...{'}' * len(sections)}"
    suggestions = _suggest(unknown)
    return f"did you mean {suggestions[0]}?" if suggestions else "see `tutelage config --keys`"


def _suggest(mistyped: str) -> list[str]:
    """Return the option that was probably meant: one with a similar dotted name, or with this name in any section."""
    keys, last = _known_keys(mistyped), mistyped.rpartition(".")[2]
    by_end = {key.rpartition(".")[2]: key for key in keys}
    similar = difflib.get_close_matches(mistyped, keys, 1, cutoff=0.7)
    return similar or [by_end[end] for end in difflib.get_close_matches(last, by_end, 1, cutoff=0.7)]


def replaced_section(content: DictConfig) -> str | None:
    """Return the section in whose place a file has another value; None if there is none."""
    sections = [name for name, kind in get_type_hints(Config).items() if is_dataclass(kind)]
    values: Any = OmegaConf.to_container(content)
    return next((name for name in sections if name in values and not isinstance(values[name], dict)), None)


def in_plain_words(error: Exception) -> str:
    """Describe what is wrong with a value without omegaconf's terms."""
    text = first_line(error)
    if match := re.search(r"Value (.*) of type '.*' could not be converted to (\w+)", text):
        kinds = {"Integer": "an integer", "Float": "a number", "Boolean": "true or false"}
        return f"{match[1]} is not {kinds.get(match[2], match[2])}"
    if match := re.search(r"(\w+) is not a subclass of \w+\. value: (.*)", text):
        return f"{match[2]} is a {match[1]}, not a section of options"
    return text


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the line of a file that is not YAML."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _known_keys(mistyped: str) -> list[str]:
    """Return all options and their sections, for the task that a mistyped key names."""
    task = mistyped.split(".")[1] if mistyped.startswith("pseudo.") else "TASK"
    keys = [key.replace("TASK", task) for key in documentation()]
    return keys + sorted({key.rpartition(".")[0] for key in keys} - {""})
