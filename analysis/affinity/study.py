"""``tutelage affinity``: which task's labels, given as an input, help to predict which other task.

For every seed one network sees RGB alone, and for every task one teacher sees that task's label beside RGB. **All of
them predict all tasks**, as the paper's UMMT and MMMT do: two such networks differ in that one input and in nothing
else (frames, losses, steps, order, augmentation), each teacher is the one that would label, and T tasks take T + 1
networks rather than one for each of the T · (T - 1) pairs. So a gain is what a source adds to what the other tasks'
losses already bring.

All networks of a seed train on the same few frames, those that show every task's label, for the same number of steps,
and are measured on the same training frames that are set aside and carry them all: on validation frames only if that is
asked for, since those will judge the student. They are ordinary runs under the folder of the affinity: finished ones
are kept, and an interrupted one continues.

    runs/DATASET/affinity/
      affinity.json      figures, gains, verdicts and recommendations (analysis/affinity/gains.py)
      affinity.png       the same as a matrix (analysis/affinity/matrix.py)
      rgb/seed-K/  rgb-TASK/seed-K/
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.affinity.gains import LEAST, Gain, Scores, gain, recommend, together, verdicts
from analysis.affinity.matrix import draw
from analysis.results.headlines import SMALLER_IS_BETTER, headline_of
from analysis.results.interval import LEVEL, Interval
from shards.assignment import NESTED
from shards.atomic import write_json
from shards.errors import UserError
from shards.frames import Frames
from shards.store import shown
from shards.tasks import Task
from trainer.affinity import NAME, Affinity, Bounds, Effect, MeasuredTask, Score, located
from trainer.configfile import NO_PSEUDO
from trainer.configvalues import COMMAND_LINE
from trainer.experiment import TRAIN, Experiment
from trainer.progress import say
from trainer.ranks import rank
from trainer.recommendation import affinity_folder
from trainer.runs.folder import check_configuration, environment
from trainer.runs.result import Result
from trainer.stages import run

RGB = "rgb"
ASIDE, SHARE = 100, 5
"""Where ``dev`` says nothing, as many frames are set aside to judge on, but no more than one of so many of those that
carry every label."""


def measure(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    seeds: int = 3,
    samples: int | None = None,
    out: str | Path | None = None,
    split: str = "dev",
) -> tuple[Path, Affinity]:
    """Train and measure all networks, and write what follows.

    Args:
        path: a configuration with the tasks, or the name of a shipped one. Its inputs, pseudo-labels and name do not
            matter.
        overrides: ``key=value``.
        seeds: how many, from the configuration's on.
        samples: frames to train on; None for all that show every task's label within the budgets.
        out: the folder; None for that of the data set, where ``pseudo: auto`` looks.
        split: what the networks are measured on: ``dev``, training frames that are set aside, or ``val``, whose frames
            will measure the student as well.

    Returns:
        The folder, and what its ``affinity.json`` holds.

    Raises:
        UserError: fewer than two tasks, too few frames with all labels, or whatever a run raises.
    """
    own = Experiment(path, [*overrides, NO_PSEUDO])
    config, names = own.config, [task.name for task in own.tasks]
    if len(names) < 2:
        hint = "give two or more: tasks=[semseg, depth]"
        raise UserError(f"names {names[0]} alone", file=own.path, key="tasks", hint=hint)
    if seeds < 1:
        raise UserError(f"{seeds} seeds", key="--seeds", hint="give 1 or more; an interval takes 2")
    if samples is not None and samples < 1:
        raise UserError(f"{samples} frames", key="--samples", hint="give 1 or more, or none for all")
    if f"evaluate.split={split}" not in overrides and any(each.startswith("evaluate.split=") for each in overrides):
        hint = "say --split val, if the frames that will judge the student should judge its teacher too"
        raise UserError(f"networks are measured on {split} frames", file=COMMAND_LINE, key="evaluate.split", hint=hint)
    folder = Path(out) if out else affinity_folder(config)
    study = Study(own, folder, samples, split)
    numbers = range(config.seed, config.seed + seeds)
    runs = f"{len(names) + 1} networks × {seeds} seed{'s' * (seeds > 1)}"
    judges = f"training frames that are set aside ({study.dev})" if split == "dev" else "validation frames"
    say(f"affinity of {', '.join(names)}: {runs} on {study.samples} frames, judged on {judges}: {folder}")
    networks = {(source, seed): study.experiment(source, seed) for seed in numbers for source in (None, *names)}
    results = {place: run(experiment) for place, experiment in networks.items()}
    affinity = study.affinity(results, list(numbers), _looks(located(folder), seeds))
    if rank() == 0:
        write_json(folder / NAME, affinity.to_json())
        draw(affinity, folder / "affinity.png")
    return folder, affinity


class Study:
    """The networks that one affinity is made of.

    Args:
        own: the configuration as it was given, whose budgets say which labels are scarce.
        folder: of all runs.
        samples: frames to train on, or None for all that show every label.
        split: that judges, ``dev`` or ``val``.

    Raises:
        UserError: when no frame shows every label, or too few carry it to set some aside.
    """

    def __init__(self, own: Experiment, folder: Path, samples: int | None, split: str = "dev") -> None:
        self.own, self.folder, self.config, self.split = own, folder, own.config, split
        self.dev = own.config.dev or (self._aside() if split == "dev" else 0)
        self.frames = own.training_frames()
        left = Frames(own.manifest, TRAIN, seed=own.config.seed, dev=self.dev)
        self.samples = samples or min(_complete(each, own.tasks) for each in (self.frames, left))
        if self.samples < 1:
            what = f"no training frame shows all of {', '.join(self.config.tasks)}"
            hint = "give fewer tasks: tasks=[...]"
            if self.config.assignment != NESTED:
                hint = "set assignment=nested, since the networks train on frames that show all labels"
            raise UserError(what, file=own.manifest.path, key="tasks", hint=hint)
        self.val = self._val()

    def _with(self, *overrides: str) -> Experiment:
        """The configuration with its frames set aside, and more."""
        return Experiment(
            self.own.path, [*self.own.overrides, f"dev={self.dev}", f"evaluate.split={self.split}", *overrides]
        )

    def _aside(self) -> int:
        manifest = self.own.manifest
        carrying = _complete(Frames(manifest, TRAIN, seed=self.config.seed), manifest.tasks)
        if carrying < SHARE:
            what = f"{carrying} training frames carry every label: too few to set some aside to judge on"
            raise UserError(what, file=manifest.path, key="dev", hint="label more, set dev, or say --split val")
        return min(ASIDE, carrying // SHARE)

    def _val(self) -> int | None:
        """How many of the validation frames carry all labels: the queue has them first."""
        if self.split == "dev":
            return self.config.val  # frames that are set aside carry every label
        return _complete(self._with().evaluation_frames(), self.own.tasks)

    def experiment(self, source: str | None, seed: int) -> Experiment:
        """The network that sees a source's label, or none, beside RGB.

        Raises:
            UserError: when its frames do not show all labels, or its folder holds a run of other settings.
        """
        inputs = [RGB, source] if source else [RGB]
        name = "-".join(inputs)
        made = self._with(
            f"experiment={name}",
            f"inputs=[{', '.join(inputs)}]",
            f"seed={seed}",
            "run.path=" + json.dumps(str(self.folder / name / f"seed-{seed}")),  # a YAML string, whatever is in it
            *(f"labels.{task}={self.samples}" for task in self.config.tasks),
            f"val={self.val or 'null'}",
        )
        try:
            check_configuration(made)
        except UserError as error:
            hint = "give another folder (--out), or delete this one"
            raise UserError(error.what, file=error.file, key=error.key, hint=hint) from None
        seen, measured = made.training_frames(), made.evaluation_frames()
        for frames, wanted, key in (
            (seen, self.samples, "--samples"),
            (measured, int(measured.chosen.sum()), self.split),
        ):
            complete = _complete(frames, self.own.tasks)
            if complete < max(wanted, 1):
                what = f"{complete} of {wanted} {frames.split} frames show all of {', '.join(self.config.tasks)}"
                raise UserError(what, file=frames.manifest.path, key=key, hint="give fewer frames, or fewer tasks")
        return made

    def affinity(self, results: dict[tuple[str | None, int], Result], seeds: list[int], looks: list[int]) -> Affinity:
        """What follows from the results by source (None for RGB alone) and seed."""

        def scores(source: str | None, task: Task) -> Scores:
            return {seed: results[source, seed].metrics[task.name][headline_of(task)] for seed in seeds}

        tasks = self.own.tasks
        names = [task.name for task in tasks]
        gains = together(
            gain(source, target, scores(source, target), scores(None, target))
            for source in names
            for target in tasks
            if target.name != source
        )
        first = results[None, seeds[0]]
        return Affinity(
            config=self.own.spelling,
            overrides=[*map(shown, self.own.overrides)],
            dataset=self.config.data.name,
            manifest=self.own.manifest.sha256,
            tasks={task.name: self._described(task) for task in tasks},
            backbone=first.backbone,
            pretrained=first.pretrained,
            size=first.size,
            crop=first.crop,
            steps=first.steps,
            samples_seen=first.samples_seen,
            samples=self.samples,
            split="dev" if self.split == "dev" else "val",
            validation_frames=first.validation_frames,
            seeds=seeds,
            level=LEVEL,
            least=LEAST,
            scores=[
                Score(
                    [RGB, source] if source else [RGB],
                    task.name,
                    {str(seed): value for seed, value in scores(source, task).items()},
                )
                for source in (None, *names)
                for task in tasks
            ],
            gains=[_effect(each) for each in gains.values()],
            verdicts=verdicts(gains, names),
            recommended=recommend(gains, tasks, {pair: self._labelable(*pair) for pair in gains}),
            environment=environment(),
            looks=looks,
        )

    def _described(self, task: Task) -> MeasuredTask:
        metric = headline_of(task)
        visible = int((self.frames.visible[task.name] & self.frames.chosen).sum())
        return MeasuredTask(task.kind, metric, "lower" if metric in SMALLER_IS_BETTER else "higher", visible)

    def _labelable(self, source: str, target: str) -> int:
        """Frames that a teacher which sees the source could label with the target, within the budgets."""
        return int(self.frames.to_label([RGB, source], [target]).sum())


def _looks(file: Path, seeds: int) -> list[int]:
    """With how many seeds the same affinity was judged before, each number once."""
    if not file.exists():
        return []
    before = Affinity.read(file)
    return [count for count in [*(before.looks or []), len(before.seeds)] if count != seeds]


def _complete(frames: Frames, tasks: Sequence[Task]) -> int:
    """How many of the chosen frames show all labels."""
    return int(np.logical_and.reduce([frames.chosen, *(frames.visible[task.name] for task in tasks)]).sum())


def _effect(gain: Gain) -> Effect:
    def bounds(interval: Interval) -> Bounds:
        low, high = (value if math.isfinite(value) else None for value in (interval.low, interval.high))
        return Bounds(interval.mean, low, high, interval.deviation, interval.count)

    return Effect(
        source=gain.source,
        target=gain.target,
        helps=gain.helps,
        p=gain.p,
        seeds_needed=gain.seeds_needed,
        absolute=bounds(gain.absolute),
        relative=bounds(gain.relative),
    )
