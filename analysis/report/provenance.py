"""Where a report's figures come from: data, versions, hardware, and what to type to get them again."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.collect import Group, Part, Run


@dataclass(frozen=True)
class Source:
    """A run, and what it was made from.

    Args:
        command: None where the run is older than the commands that note it.
        config: the resolved configuration, as it stands in the run's folder.
    """

    group: Group
    run: Run
    command: str | None
    facts: list[tuple[str, str]]
    config: str


def sources(part: Part) -> list[Source]:
    """Every run of a part."""
    return [_source(group, run) for group in part.groups for run in group.runs]


def environments(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Versions and hardware: of each its values in the runs, one as a rule."""
    names = dict.fromkeys(name for run in runs for name in run.result.environment)
    found = []
    for name in names:
        values = [run.result.environment.get(name) for run in runs]
        found.append((name, list(dict.fromkeys("none" if value is None else str(value) for value in values))))
    return found


def data_facts(part: Part) -> list[tuple[str, str]]:
    """What is known of a part's data set."""
    manifest = part.manifest
    if manifest is None:
        return []
    size = "×".join(map(str, manifest.size)) if manifest.size else "own sizes"
    splits = ", ".join(f"{split} {manifest.samples(split)}" for split in manifest.splits)
    made = {key: value for key, value in manifest.source.items() if isinstance(value, str | int | float | bool)}
    facts = [("folder", str(manifest.folder)), ("frames", splits), ("size", size)]
    facts += [(f"prepared with {key}", str(value)) for key, value in made.items()]
    return [*facts, ("manifest sha256", manifest.sha256)]


def _source(group: Group, run: Run) -> Source:
    result = run.result
    facts = [
        ("folder", str(run.folder)),
        ("network", f"{result.backbone}, {_origin(group)}"),
        ("budget", _words(result.budget)),
        ("steps", f"{result.steps} ({result.samples_seen} samples seen)"),
        ("validation frames", str(result.validation_frames)),
        ("checkpoint sha256", _words(result.asked.checkpoints or None)),
    ]
    command = shlex.join(result.command) if result.command else None
    return Source(group, run, command, facts, run.config)


def _origin(group: Group) -> str:
    source = group.rows.setting["pretrained"]
    return "pretrained" + (f" ({source})" if isinstance(source, str) else "") if source else "from scratch"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {of if isinstance(of, str) else json.dumps(of)}" for key, of in value.items()) or "all"
    return str(value)
