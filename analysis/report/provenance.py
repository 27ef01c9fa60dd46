"""The provenance of a report's figures: data, versions, hardware, and the commands that reproduce them."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.collect import Group, Part, Run
from trainer.runs.result import describe_frames


@dataclass(frozen=True)
class Source:
    """A run, and what it was made from: configuration, command, data.

    Args:
        command: None for runs older than the recording of commands.
        config: the text of the resolved configuration in the run's folder.
    """

    group: Group
    run: Run
    command: str | None
    facts: list[tuple[str, str]]
    config: str


def sources(part: Part) -> list[Source]:
    """Return the sources of every run of a part."""
    return [_source(group, run) for group in part.groups for run in group.runs]


def environments(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Return each version and piece of hardware with its values in the runs, usually one."""
    names = dict.fromkeys(name for run in runs for name in run.result.environment)
    values_by_name = []
    for name in names:
        values = [run.result.environment.get(name) for run in runs]
        values_by_name.append((name, list(dict.fromkeys("none" if value is None else str(value) for value in values))))
    return values_by_name


def data_facts(part: Part) -> list[tuple[str, str]]:
    """Return the facts on a part's data set as names and values."""
    manifest = part.manifest
    if manifest is None:
        return []
    size = "×".join(map(str, manifest.size)) if manifest.size else "original sizes"
    splits = ", ".join(f"{split} {manifest.samples(split)}" for split in manifest.splits)
    options = {key: value for key, value in manifest.source.items() if isinstance(value, str | int | float | bool)}
    facts = [("folder", str(manifest.folder)), ("frames", splits), ("size", size)]
    facts += [(f"prepared with {key}", str(value)) for key, value in options.items()]
    return [*facts, ("manifest sha256", manifest.sha256)]


def _source(group: Group, run: Run) -> Source:
    result = run.result
    facts = [
        ("folder", str(run.folder)),
        ("network", f"{result.backbone}, {_origin(group)}"),
        ("budget", _words(result.budget)),
        ("steps", f"{result.steps} ({result.samples_seen} samples seen)"),
        ("validation frames", "; ".join([str(result.validation_frames), *describe_frames(result)])),
        ("checkpoint sha256", _words(result.asked.checkpoints or None)),
    ]
    command = shlex.join(result.command) if result.command else None
    return Source(group, run, command, facts, run.config)


def _origin(group: Group) -> str:
    source = group.rows.setting["pretrained"]
    return "pretrained" + (f" ({source})" if isinstance(source, str) else "") if source else "from scratch"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return (
            ", ".join(f"{key} {part if isinstance(part, str) else json.dumps(part)}" for key, part in value.items())
            or "all"
        )
    return str(value)
