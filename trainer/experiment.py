"""One experiment of a configuration: its data, its network's architecture, its folder, its teachers."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from shards.assignment import NESTED
from shards.cache import Cache, default_folder
from shards.errors import UserError
from shards.frames import Frames
from shards.keep import ALL, Keep
from shards.labels import LabelShards
from shards.manifest import NAME, Manifest
from shards.statistics import mean_and_deviation
from shards.store import Place, Remote, address, place, shown
from shards.tasks import Task
from trainer.config import Config
from trainer.configfile import load, teacher_call
from trainer.extension import called
from trainer.measurement import Measurement
from trainer.model.architecture import RGB, Architecture
from trainer.parsing import parse_bytes, parse_size
from trainer.shipped import find, spelling

TRAIN = "train"


class Experiment:
    """What a configuration file and its overrides mean.

    Args:
        path: the configuration file, or the name of a shipped one.
        overrides: ``key=value``.

    Raises:
        UserError: a bad configuration, or one that the data set cannot serve.
    """

    def __init__(self, path: str | Path, overrides: Sequence[str] = (), config: Config | None = None) -> None:
        self.path, self.overrides = Path(path) if config else find(path), list(overrides)
        self.config = config or load(self.path, overrides)
        self.folder = Path(self.config.run.path)

    @classmethod
    def of_run(cls, folder: Path, data: Place | None = None) -> "Experiment":
        """The experiment that left a run's folder, wherever the folder and its data set are now.

        Its teachers cannot be asked for: the configuration there names them relative to another place.

        Args:
            folder: of the run, with its ``config.yaml``.
            data: the data set, where it is not at the place that the configuration names.
        """
        path = folder / "config.yaml"
        config = load(path)
        OmegaConf.set_readonly(config, False)  # type: ignore[arg-type]
        config.run.path = str(folder)
        config.data.path = address(data or config.data.path)
        return cls(path, config=config)

    @property
    def spelling(self) -> str:
        """What a command takes for its configuration: the file's path, or its name if it is a shipped one."""
        return spelling(self.path)

    @property
    def command(self) -> list[str]:
        """What to type to run this experiment with all it depends on, without what is secret of URLs."""
        return ["tutelage", "run", self.spelling, *map(shown, self.overrides)]

    @cached_property
    def manifest(self) -> Manifest:
        data = self.config.data
        at = place(data.path)
        if isinstance(at, Path) and not (at / NAME).exists():
            hint = "prepare the data set (`tutelage prepare --help`), or set data.path to where it is"
            raise UserError("is not a prepared data set", file=data.path, key="data.path", hint=hint)
        limit = parse_bytes(data.cache_size, "data.cache_size")
        manifest = Manifest.load(at, cache=Cache(Path(data.cache) if data.cache else default_folder(), limit))
        model = self.config.model
        for name in {**dict.fromkeys([*self.config.tasks, *self.config.inputs, *(model.pretrained_inputs or ())])}:
            if name != RGB:
                manifest.task(name)
        return manifest

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(self.manifest.task(name) for name in self.config.tasks)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of whole frames as the network sees them; None where they differ in size."""
        return parse_size(self.config.data.size, "data.size") or self.manifest.size

    @property
    def targets(self) -> tuple[Task, ...]:
        """The tasks that are predicted and not seen as inputs: what a teacher can label."""
        return tuple(task for task in self.tasks if task.name not in self.config.inputs)

    def data(self) -> dict[str, Manifest]:
        """What training sees, by the option that names it; pseudo-labels that are not made yet are left out."""
        labels = {f"pseudo.{task}": teacher.made_labels() for task, teacher in self.teachers.items()}
        cache = self.manifest.cache
        made = {key: Manifest.load(at, kind="labels", cache=cache) for key, at in labels.items() if at is not None}
        return {"data.path": self.manifest, **made}

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def exported(self) -> Path:
        """The exported network that is shown and that labels."""
        return self.checkpoints / self.config.evaluate.checkpoint

    @property
    def labels(self) -> Path:
        """The sidecar that this network labels as a teacher."""
        return self.folder / "labels" / (f"{TRAIN}-all" if self.config.label.frames == "all" else TRAIN)

    @property
    def label_store(self) -> Remote | None:
        """Where a copy of :attr:`labels` is kept, if it is asked for."""
        store = self.config.label.store
        return None if store is None else Remote(store)

    def made_labels(self) -> Place | None:
        """Where this network's labels are to be read: its own folder, or else the store; None before they are made."""
        if (self.labels / NAME).exists():
            return self.labels
        store = self.label_store
        return store if store is not None and (store / NAME).exists() else None

    def teacher(self, task: str) -> "Experiment":
        """The experiment whose network makes a task's pseudo-labels."""
        teacher = Experiment(*teacher_call(self.config, task, self.overrides))
        if task not in teacher.config.tasks or task in teacher.config.inputs:
            what = f"does not predict {task} from other inputs, so it cannot label it"
            raise UserError(what, file=teacher.path, key=f"pseudo.{task}.teacher", hint="name another teacher")
        return teacher

    @cached_property
    def teachers(self) -> dict[str, "Experiment"]:
        """The teacher of each task that has pseudo-labels."""
        return {task: self.teacher(task) for task in self.config.pseudo}

    def check_pseudo(self) -> None:
        """Make sure that the teachers' labels will hold what is asked of them, before they are made.

        Raises:
            UserError: soft labels of what is not classes or of a teacher that stores none, a confidence that there
                will not be, or an adjustment of soft labels where none are learnt.
        """
        targets = {entry.target for entry in self.config.pseudo.values()}
        if self.config.loss.soft_adjustment and targets == {"hard"}:  # none at all is a student's baseline
            hint = "set pseudo.TASK.target=soft, or loss.soft_adjustment=0"
            raise UserError("no task has soft labels", file=self.path, key="loss.soft_adjustment", hint=hint)
        for name, teacher in self.teachers.items():
            entry, key = self.config.pseudo[name], f"pseudo.{name}"
            kind, label = self.manifest.task(name).storage, teacher.config.label
            if entry.target == "soft" and not (kind.distribution and label.soft):
                why = "the teacher stores none" if kind.distribution else f"{name} is not of kind classes"
                hint = "set label.soft to 1 or more" if kind.distribution else f"set {key}.target=hard"
                raise UserError(f"no soft labels: {why}", file=self.path, key=f"{key}.target", hint=hint)
            own, its = self.config.loss.logit_adjustment, teacher.config.loss.logit_adjustment
            if entry.target == "soft" and own != its:
                what = f"{own:g}, and {its:g} in {teacher.path}, whose distributions it learns"
                hint = "write the same in both files, or in one that both inherit"
                raise UserError(what, file=self.path, key="loss.logit_adjustment", hint=hint)
            keep = self._keep(name)
            if keep.needs_confidence and not kind.confident and not label.flip:
                cuts = keep.threshold is not None or keep.quantile is not None
                option, nothing = ("keep", ALL) if cuts else ("weight", "none")
                hint = f"set {key}.{option}={nothing}, or label.flip=true for the teacher"
                raise UserError(f"{name} has no confidence", file=self.path, key=f"{key}.{option}", hint=hint)

    def _keep(self, task: str) -> Keep:
        """What is taken of a task's pseudo-labels.

        Raises:
            UserError: when the filter cannot be imported.
        """
        entry, keep = self.config.pseudo[task], self.config.pseudo[task].keep
        if isinstance(keep, str) and ":" in keep:
            keep = called(keep, f"pseudo.{task}.keep")
        return Keep.of(keep, soft=entry.target == "soft", weighted=entry.weight == "confidence")

    def training_frames(self, *, pseudo: bool = True) -> Frames:
        """The training split under this experiment's budgets, with its pseudo-labels.

        Args:
            pseudo: False leaves pseudo-labels out (what a teacher labels does not depend on them).

        Raises:
            UserError: when a budget is larger than the data, or a teacher has not labelled.
        """
        config = self.config
        frames = Frames(
            self.manifest,
            TRAIN,
            seed=config.seed,
            budgets=config.labels,
            assignment=config.assignment,
            dev=config.dev,
            only=config.frames,
        )
        for task, teacher in self.teachers.items() if pseudo else ():
            entry = config.pseudo[task]
            if (labels := teacher.made_labels()) is None:
                own = "" if entry.inputs else f"label with it (`tutelage label {teacher.spelling}`), or "
                hint = f"{own}let `tutelage run {self.spelling}` do it all"
                raise UserError("the teacher has not labelled", file=teacher.labels, key=f"pseudo.{task}", hint=hint)
            labelled = LabelShards(labels, self.manifest, TRAIN, self.manifest.task(task), self._keep(task))
            frames.add_pseudo(labelled, holes=entry.holes)
        return frames

    def frames_to_train(self) -> tuple[Frames, np.ndarray]:
        """The training split, and which of its frames an epoch of this network holds, bool ``(count,)``.

        Raises:
            UserError: when there are none, and what keeps them away.
        """
        config = self.config
        frames = self.training_frames()
        mask = frames.to_train(config.inputs, config.tasks)
        if mask.any():
            return frames, mask
        ways = ["give the labels larger budgets that overlap (labels.TASK)"]
        if config.assignment != NESTED:
            ways = [f"set another assignment than {config.assignment!r}"]
        if set(config.inputs) - {RGB}:
            ways.append("leave labels out of the inputs: a teacher with inputs [rgb] needs no frame that shows two")
        what = frames.why_none_to_train(config.inputs, config.tasks)
        raise UserError(what, file=self.path, key="inputs", hint=", or ".join(ways))

    def frames_to_label(self) -> tuple[Frames, np.ndarray]:
        """The training split, and which of its frames this network labels as a teacher, bool ``(count,)``.

        Raises:
            UserError: when there are none.
        """
        if not self.targets:
            what = "predicts nothing but its own inputs, so it can label nothing"
            raise UserError(what, file=self.path, key="tasks", hint="give a teacher a task that is not an input")
        frames = self.training_frames(pseudo=False)
        targets = [task.name for task in self.targets]
        mask = frames.to_label(self.config.inputs, targets, shown=self.config.label.frames == "all")
        if not mask.any():
            what = "every frame it could label shows its label"
            hint = "give the inputs a larger budget than the labels (labels.TASK)"
            if lacking := int(frames.to_label((), targets).sum()):
                inputs = " and ".join(name for name in self.config.inputs if name != RGB)
                what = f"none of the {lacking} frames without {' or '.join(targets)} carries {inputs}, which it sees"
                hint += f", or let it see {RGB} alone (inputs)"
            raise UserError(what, file=self.path, key="labels", hint=hint)
        return frames, mask

    def evaluation_frames(self) -> Frames:
        """The frames of ``evaluate.split``: the chosen validation frames, or the training frames set aside."""
        config = self.config
        if config.evaluate.split == "dev":
            if not config.dev:
                hint = "set dev to a number of frames, when training too"
                raise UserError("no frames are set aside", file=self.path, key="dev", hint=hint)
            return Frames(self.manifest, TRAIN, seed=config.seed, dev=config.dev, only="dev")
        return Frames(self.manifest, "val", seed=self._val_seed, only=config.val)

    @property
    def measurement(self) -> Measurement:
        """How predictions are compared with labels, with the ranges of its own tasks.

        Raises:
            UserError: for a range of a task that the data set lacks or that is not a scalar one.
        """
        asked = self.config.evaluate
        for name in asked.range:
            if not self.manifest.task(name).storage.quantity:
                what, hint = "has no range: it is not a task of kind scalar", "leave it out"
                raise UserError(what, file=self.path, key=f"evaluate.range.{name}", hint=hint)
        ranges = {name: (least, most) for name, (least, most) in asked.range.items() if name in self.config.tasks}
        return Measurement(asked.resolution, ranges, asked.crop)

    @property
    def _val_seed(self) -> int:
        return self.config.seed if self.config.val_seed is None else self.config.val_seed

    @property
    def measured_on(self) -> dict[str, Any]:
        """Which frames :meth:`evaluation_frames` are, as results and checkpoints note it: values of others cannot be
        compared. What draws ``val`` frames is left out where nothing is drawn, or each run's own seed draws, which is
        what all runs did before there was ``val_seed``."""
        config = self.config
        drawn = config.evaluate.split == "val" and config.val is not None and config.val_seed is not None
        said = {"split": config.evaluate.split, "val": config.val}
        return said | {"val_seed": config.val_seed} if drawn else said

    @cached_property
    def architecture(self) -> Architecture:
        """The network, with the training split's statistics, which normalise its inputs and are where its predictions
        start. Where RGB's backbone starts from given weights, :func:`trainer.model.network.build` puts their
        normalisation of RGB in place of this one's."""
        config = self.config
        inputs = tuple(self.manifest.task(name) for name in config.inputs if name != "rgb")
        seen = self.manifest.statistics[TRAIN]
        measured = {t.name for t in self.tasks if seen[t.name]["pixels"]} | {t.name for t in inputs}
        statistics = {
            task.name: mean_and_deviation(seen[task.name])
            for task in {**dict.fromkeys(inputs), **dict.fromkeys(self.tasks)}
            if task.storage.quantity and task.name in measured
        }
        return Architecture(
            backbone=config.model.backbone,
            inputs=tuple(config.inputs),
            tasks=self.tasks,
            input_tasks=inputs,
            fusion=config.model.fusion,  # type: ignore[arg-type]
            statistics=statistics,
            decoder=config.model.decoder,  # type: ignore[arg-type]
            widths=None if config.model.widths is None else tuple(config.model.widths),
            version=config.model.version,
            name=config.model.name,
        )
