"""``tutelage affinity``: which task's labels, given as an input, help to predict which other task.

For every seed, one network sees RGB alone, and for every task one teacher sees that task's label beside RGB. **All of
them predict all tasks**, as the paper's UMMT and MMMT do: two such networks differ in that one input only (not in
frames, losses, steps, order, augmentation), each teacher is the one that would label, and T tasks take T + 1
networks rather than one for each of the T · (T - 1) pairs. So a gain is what a source adds to the benefit of the other
tasks' losses.

All networks of a seed train on the same few frames, those that show every task's label, for the same number of steps.
They are measured on the same held-out training frames with all labels; on validation frames only on request, since
those will measure the student. They are ordinary runs under the folder of the affinity: finished ones are kept, and an
interrupted one continues.

    runs/DATASET/affinity/
      affinity.json      scores, gains, verdicts and recommendations (analysis/affinity/gains.py)
      affinity.png       the same as a matrix (analysis/affinity/matrix.py)
      rgb/seed-K/  rgb-TASK/seed-K/
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.affinity.gains import LEAST, Gain, Scores, adjust_p_values, gain, recommend, verdicts
from analysis.affinity.matrix import draw
from analysis.results.headlines import SMALLER_IS_BETTER, headline_of
from analysis.results.interval import LEVEL, bounds
from shards.assignment import NESTED
from shards.atomic import write_json
from shards.errors import UserError
from shards.frames import Frames
from shards.log import logger
from shards.store import redact
from shards.tasks import Task
from trainer.affinity import NAME, Affinity, Effect, MeasuredTask, Score, affinity_file
from trainer.configfile import NO_PSEUDO
from trainer.configvalues import COMMAND_LINE
from trainer.experiment import TRAIN, Experiment
from trainer.ranks import rank
from trainer.recommendation import affinity_folder
from trainer.runs.folder import check_configuration, environment
from trainer.runs.result import Result
from trainer.stages import run

RGB = "rgb"
ASIDE, SHARE = 100, 5
"""Without ``dev``, ``ASIDE`` training frames are set aside to measure on, but at most one in ``SHARE`` of those that
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
    """Train and measure all networks, and write the affinity and its picture.

    Args:
        path: a configuration with the tasks, or the name of a shipped one. Its inputs, pseudo-labels and name do not
            matter.
        overrides: ``key=value``.
        seeds: number of seeds, counted up from the configuration's.
        samples: frames to train on; None for all that show every task's label within the budgets.
        out: the output folder; None for that of the data set, where ``pseudo: auto`` looks.
        split: what the networks are measured on: ``dev``, training frames that are set aside, or ``val``, whose frames
            will measure the student as well.

    Returns:
        The folder, and the content of its ``affinity.json``.

    Raises:
        UserError: fewer than two tasks, too few frames with all labels, or any error of a run.
    """
    base = Experiment(path, [*overrides, NO_PSEUDO])
    config, names = base.config, [task.name for task in base.tasks]
    if len(names) < 2:
        hint = "give two or more: tasks=[semseg, depth]"
        raise UserError(f"names {names[0]} alone", file=base.path, key="tasks", hint=hint)
    if seeds < 1:
        raise UserError(f"{seeds} seeds", key="--seeds", hint="give 1 or more; an interval takes 2")
    if samples is not None and samples < 1:
        raise UserError(f"{samples} frames", key="--samples", hint="give 1 or more, or none for all")
    if f"evaluate.split={split}" not in overrides and any(text.startswith("evaluate.split=") for text in overrides):
        hint = "pass --split val if the frames that measure the student should also measure its teacher"
        raise UserError(f"networks are measured on {split} frames", file=COMMAND_LINE, key="evaluate.split", hint=hint)
    folder = Path(out) if out else affinity_folder(config)
    study = Study(base, folder, samples, split)
    seed_numbers = range(config.seed, config.seed + seeds)
    runs = f"{len(names) + 1} networks × {seeds} seed{'s' * (seeds > 1)}"
    judges = f"training frames that are set aside ({study.dev})" if split == "dev" else "validation frames"
    logger.info(f"affinity of {', '.join(names)}: {runs} on {study.samples} frames, judged on {judges}: {folder}")
    networks = {(source, seed): study.experiment(source, seed) for seed in seed_numbers for source in (None, *names)}
    results = {key: run(experiment) for key, experiment in networks.items()}
    affinity = study.affinity(results, list(seed_numbers), _previous_seed_counts(affinity_file(folder), seeds))
    if rank() == 0:
        write_json(folder / NAME, affinity.to_json())
        draw(affinity, folder / "affinity.png")
    return folder, affinity


class Study:
    """The networks that one affinity is measured with.

    Args:
        base: the configuration as given, whose budgets determine which labels are scarce.
        folder: of all runs.
        samples: frames to train on, or None for all that show every label.
        split: the split to measure on, ``dev`` or ``val``.

    Raises:
        UserError: when no frame shows every label, or too few carry them all to set some aside.
    """

    def __init__(self, base: Experiment, folder: Path, samples: int | None, split: str = "dev") -> None:
        self.base, self.folder, self.config, self.split = base, folder, base.config, split
        self.dev = base.config.dev or (self._default_dev() if split == "dev" else 0)
        self.frames = base.training_frames()
        remaining = Frames(base.manifest, TRAIN, seed=base.config.seed, dev=self.dev)
        self.samples = samples or min(_complete(frames, base.tasks) for frames in (self.frames, remaining))
        if self.samples < 1:
            message = f"no training frame shows all of {', '.join(self.config.tasks)}"
            hint = "give fewer tasks: tasks=[...]"
            if self.config.assignment != NESTED:
                hint = "set assignment=nested, since the networks train on frames that show all labels"
            raise UserError(message, file=base.manifest.path, key="tasks", hint=hint)
        self.val = self._validation_frames()

    def _override(self, *overrides: str) -> Experiment:
        """Return the experiment with ``dev`` and ``evaluate.split`` set, and further overrides."""
        return Experiment(
            self.base.path, [*self.base.overrides, f"dev={self.dev}", f"evaluate.split={self.split}", *overrides]
        )

    def _default_dev(self) -> int:
        manifest = self.base.manifest
        complete = _complete(Frames(manifest, TRAIN, seed=self.config.seed), manifest.tasks)
        if complete < SHARE:
            message = f"{complete} training frames carry every label: too few to set some aside to judge on"
            raise UserError(message, file=manifest.path, key="dev", hint="label more, set dev, or pass --split val")
        return min(ASIDE, complete // SHARE)

    def _validation_frames(self) -> int | None:
        """Return the number of validation frames with all labels, which come first in their order."""
        if self.split == "dev":
            return self.config.val  # frames set aside carry every label
        return _complete(self._override().evaluation_frames, self.base.tasks)

    def experiment(self, source: str | None, seed: int) -> Experiment:
        """Return the experiment whose network sees RGB and the label of a source, or RGB alone.

        Raises:
            UserError: when its frames do not show all labels, or its folder holds a run of other settings.
        """
        inputs = [RGB, source] if source else [RGB]
        name = "-".join(inputs)
        experiment = self._override(
            f"experiment={name}",
            f"inputs=[{', '.join(inputs)}]",
            f"seed={seed}",
            "run.path=" + json.dumps(str(self.folder / name / f"seed-{seed}")),  # a YAML string, whatever is in it
            *(f"labels.{task}={self.samples}" for task in self.config.tasks),
            f"val={self.val or 'null'}",
        )
        try:
            check_configuration(experiment)
        except UserError as error:
            hint = "give another folder (--out), or delete this one"
            raise UserError(error.what, file=error.file, key=error.key, hint=hint) from None
        training, evaluation = experiment.training_frames(), experiment.evaluation_frames
        for frames, expected, key in (
            (training, self.samples, "--samples"),
            (evaluation, int(evaluation.chosen.sum()), self.split),
        ):
            complete = _complete(frames, self.base.tasks)
            if complete < max(expected, 1):
                message = f"{complete} of {expected} {frames.split} frames show all of {', '.join(self.config.tasks)}"
                raise UserError(message, file=frames.manifest.path, key=key, hint="give fewer frames, or fewer tasks")
        return experiment

    def affinity(self, results: dict[tuple[str | None, int], Result], seeds: list[int], looks: list[int]) -> Affinity:
        """Return the affinity that follows from the results by source (None for RGB alone) and seed."""

        def scores(source: str | None, task: Task) -> Scores:
            return {seed: results[source, seed].metrics[task.name][headline_of(task)] for seed in seeds}

        tasks = self.base.tasks
        names = [task.name for task in tasks]
        gains = adjust_p_values(
            gain(source, target, scores(source, target), scores(None, target))
            for source in names
            for target in tasks
            if target.name != source
        )
        first = results[None, seeds[0]]
        return Affinity(
            config=self.base.spelling,
            overrides=[*map(redact, self.base.overrides)],
            dataset=self.config.data.name,
            manifest=self.base.manifest.sha256,
            tasks={task.name: self._describe_task(task) for task in tasks},
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
            gains=[_effect(pair_gain) for pair_gain in gains.values()],
            verdicts=verdicts(gains, names),
            recommended=recommend(gains, tasks, {pair: self._count_labelable(*pair) for pair in gains}),
            environment=environment(),
            looks=looks,
        )

    def _describe_task(self, task: Task) -> MeasuredTask:
        metric = headline_of(task)
        visible = int((self.frames.visible[task.name] & self.frames.chosen).sum())
        return MeasuredTask(task.kind, metric, "lower" if metric in SMALLER_IS_BETTER else "higher", visible)

    def _count_labelable(self, source: str, target: str) -> int:
        """Return the number of frames that a teacher with this source could label, within the budgets."""
        return int(self.frames.to_label([RGB, source], [target]).sum())


def _previous_seed_counts(file: Path, seeds: int) -> list[int]:
    """Return the other numbers of seeds with which this affinity was judged before."""
    if not file.exists():
        return []
    previous = Affinity.read(file)
    return [count for count in [*(previous.looks or []), len(previous.seeds)] if count != seeds]


def _complete(frames: Frames, tasks: Sequence[Task]) -> int:
    """Return the number of chosen frames that show all labels."""
    return int(np.logical_and.reduce([frames.chosen, *(frames.visible[task.name] for task in tasks)]).sum())


def _effect(gain: Gain) -> Effect:
    return Effect(
        source=gain.source,
        target=gain.target,
        helps=gain.helps,
        p=gain.p,
        seeds_needed=gain.seeds_needed,
        absolute=bounds(gain.absolute),
        relative=bounds(gain.relative),
    )
