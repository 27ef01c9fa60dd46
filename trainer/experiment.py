"""An experiment as a configuration describes it: data, architecture of the network, folder, teachers."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from shards.arguments import check_path
from shards.assignment import NESTED
from shards.cache import Cache, default_folder
from shards.errors import UserError
from shards.frames import Frames
from shards.keep import Keep
from shards.labels import LabelShards
from shards.manifest import NAME, Manifest
from shards.store import Place, Remote, address, place, redact
from shards.tasks import Task, check_is_list
from trainer.config import Config
from trainer.configfile import IN_PYTHON, from_python, load, teacher_call
from trainer.extension import find_callable
from trainer.model.architecture import RGB, Architecture
from trainer.parsing import parse_bytes, parse_size
from trainer.shipped import find, spelling

TRAIN = "train"


class Experiment:
    """The experiment that a configuration describes: a file, or ``config`` made in Python, and overrides of it.

    Args:
        path: the configuration file, or the name of a shipped one.
        overrides: ``key=value``.
        config: the configuration in place of a file's, whose paths are relative to the working directory.

    Raises:
        UserError: for a bad configuration, or one that does not fit the data set.
    """

    def __init__(
        self, path: str | Path | None = None, overrides: Sequence[str] = (), *, config: Config | None = None
    ) -> None:
        if (path is None) == (config is None) or isinstance(path, Config):
            hint = "give a path, or config=Config(...)"
            raise UserError("takes either a path or a config", key="Experiment", hint=hint)
        if path is not None:
            check_path("path", path)
        check_is_list("overrides", overrides)
        self.in_python = path is None
        self.path = Path(IN_PYTHON) if path is None else find(path)
        self.overrides = list(overrides)
        self.config = from_python(config, overrides) if config is not None else load(self.path, overrides)
        self.folder = Path(self.config.run.path)

    @classmethod
    def of_run(cls, folder: Path, data: Place | None = None) -> "Experiment":
        """Return the experiment of an existing run, wherever its folder and data set are now.

        Its teachers are not available, since their paths in the configuration are relative to another folder.

        Args:
            folder: the folder of the run, with its ``config.yaml``.
            data: the data set, where it is no longer at the path in the configuration.
        """
        experiment = cls(folder / "config.yaml")
        config = experiment.config
        OmegaConf.set_readonly(config, False)  # type: ignore[arg-type]
        config.run.path = str(folder)
        config.data.path = address(data or config.data.path)
        experiment.folder = folder
        return experiment

    @property
    def spelling(self) -> str:
        """How to name its configuration in a command: the file's path, or the name of a shipped one. For one that was
        made in Python, the file that its run writes."""
        return str(self.folder / "config.yaml") if self.in_python else spelling(self.path)

    @property
    def command(self) -> list[str]:
        """The command that runs this experiment and all it depends on, without secrets in URLs."""
        return ["tutelage", "run", self.spelling, *map(redact, self.overrides)]

    @cached_property
    def manifest(self) -> Manifest:
        data = self.config.data
        path = place(data.path)
        if isinstance(path, Path) and not (path / NAME).exists():
            hint = "prepare the data set (`tutelage prepare --help`), or set data.path to where it is"
            raise UserError("is not a prepared data set", file=data.path, key="data.path", hint=hint)
        limit = parse_bytes(data.cache_size, "data.cache_size")
        manifest = Manifest.load(path, cache=Cache(Path(data.cache) if data.cache else default_folder(), limit))
        self._check_names(manifest)
        return manifest

    def _check_names(self, manifest: Manifest) -> None:
        """Check that every task that the configuration names is one of the data set's."""
        config = self.config
        names = {
            "tasks": config.tasks,
            "inputs": config.inputs,
            "model.pretrained_inputs": config.model.pretrained_inputs or (),
            **{f"labels.{task}": [task] for task in config.labels},
        }
        tasks = [task.name for task in manifest.tasks]
        for key, entries in names.items():
            for name in entries:
                if name not in (RGB, *tasks):
                    message = f"{name!r} is not a task of {address(manifest.folder)}"
                    hint = f"use one of its tasks: {', '.join(tasks)}"
                    if key == "tasks":  # perhaps those of a shipped configuration
                        hint += f"; or call one {name} in dataset.yaml, whatever its folder (files:), and prepare again"
                    raise UserError(message, file=self.path, key=key, hint=hint)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(self.manifest.task(name) for name in self.config.tasks)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of whole frames at the network's input; None where frames differ in size."""
        return parse_size(self.config.data.size, "data.size") or self.manifest.size

    @property
    def targets(self) -> tuple[Task, ...]:
        """The tasks that are predicted and are not inputs: those that a teacher can label."""
        return tuple(task for task in self.tasks if task.name not in self.config.inputs)

    def data(self) -> dict[str, Manifest]:
        """Return the manifests of all training data by option; pseudo-labels that do not exist yet are left out."""
        paths = {f"pseudo.{task}": teacher.find_labels() for task, teacher in self.teachers.items()}
        cache = self.manifest.cache
        data = {key: Manifest.load(path, kind="labels", cache=cache) for key, path in paths.items() if path is not None}
        return {"data.path": self.manifest, **data}

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def exported(self) -> Path:
        """Folder of the exported network that is reported, and used for labelling."""
        return self.checkpoints / self.config.evaluate.checkpoint

    @property
    def labels(self) -> Path:
        """Folder of the labels that this network makes as a teacher."""
        return self.folder / "labels" / (f"{TRAIN}-all" if self.config.label.frames == "all" else TRAIN)

    @property
    def label_store(self) -> Remote | None:
        """Remote folder for a copy of :attr:`labels`, if one is configured."""
        store = self.config.label.store
        return None if store is None else Remote(store)

    def find_labels(self) -> Place | None:
        """Return where to read this network's labels: its own folder, else the store; None before they are made."""
        if (self.labels / NAME).exists():
            return self.labels
        store = self.label_store
        return store if store is not None and (store / NAME).exists() else None

    def teacher(self, task: str) -> "Experiment":
        """Return the experiment whose network makes a task's pseudo-labels."""
        teacher = Experiment(*teacher_call(self.config, task, self.overrides))
        if task not in teacher.config.tasks or task in teacher.config.inputs:
            message = f"does not predict {task} from other inputs, so it cannot label it"
            raise UserError(message, file=teacher.path, key=f"pseudo.{task}.teacher", hint="name another teacher")
        return teacher

    @cached_property
    def teachers(self) -> dict[str, "Experiment"]:
        """The teacher of each task that has pseudo-labels."""
        return {task: self.teacher(task) for task in self.config.pseudo}

    def keep(self, task: str) -> Keep:
        """Return which of a task's pseudo-labels are kept.

        Raises:
            UserError: when the filter cannot be imported.
        """
        entry, keep = self.config.pseudo[task], self.config.pseudo[task].keep
        if isinstance(keep, str) and ":" in keep:
            keep = find_callable(keep, f"pseudo.{task}.keep")
        return Keep.of(keep, soft=entry.target == "soft", weighted=entry.weight == "confidence")

    @cached_property
    def _frames(self) -> Frames:
        """The training split without pseudo-labels: a run asks for it many times, and its indexes are parsed once."""
        config = self.config
        return Frames(
            self.manifest,
            TRAIN,
            seed=config.seed,
            budgets=config.labels,
            assignment=config.assignment,
            dev=config.dev,
            only=config.frames,
        )

    def training_frames(self, *, pseudo: bool = True) -> Frames:
        """Return the training split under this experiment's budgets, with its pseudo-labels.

        Args:
            pseudo: whether to add pseudo-labels; what a teacher labels does not depend on them.

        Raises:
            UserError: when a budget is larger than the data, or a teacher has not labelled.
        """
        frames = self._frames.without_pseudo()
        for task, teacher in self.teachers.items() if pseudo else ():
            entry = self.config.pseudo[task]
            if (labels := teacher.find_labels()) is None:
                label_first = "" if entry.inputs else f"label with it (`tutelage label {teacher.spelling}`), or "
                hint = f"{label_first}let `tutelage run {self.spelling}` do it all"
                raise UserError("the teacher has not labelled", file=teacher.labels, key=f"pseudo.{task}", hint=hint)
            shards = LabelShards(labels, self.manifest, TRAIN, self.manifest.task(task), self.keep(task))
            frames.add_pseudo(shards, holes=entry.holes)
        return frames

    def frames_to_train(self) -> tuple[Frames, np.ndarray]:
        """Return the training split, and the mask of frames that an epoch of this network contains, bool ``(count,)``.

        Raises:
            UserError: when there are none, with the reason.
        """
        config = self.config
        frames = self.training_frames()
        mask = frames.to_train(config.inputs, config.tasks)
        if mask.any():
            return frames, mask
        hints = ["give the labels larger budgets that overlap (labels.TASK)"]
        if config.assignment != NESTED:
            hints = [f"set another assignment than {config.assignment!r}"]
        if set(config.inputs) - {RGB}:
            hints.append("leave labels out of the inputs: a teacher with inputs [rgb] needs no frame that shows two")
        message = frames.why_none_to_train(config.inputs, config.tasks)
        raise UserError(message, file=self.path, key="inputs", hint=", or ".join(hints))

    def frames_to_label(self) -> tuple[Frames, np.ndarray]:
        """Return the training split, and the mask of frames that this network labels as a teacher, ``(count,)`` bool.

        Raises:
            UserError: when there are none.
        """
        if not self.targets:
            message = "predicts nothing but its own inputs, so it can label nothing"
            raise UserError(message, file=self.path, key="tasks", hint="give a teacher a task that is not an input")
        frames = self.training_frames(pseudo=False)
        targets = [task.name for task in self.targets]
        mask = frames.to_label(self.config.inputs, targets, shown=self.config.label.frames == "all")
        if not mask.any():
            message = "every frame it could label shows its label"
            hint = "give the inputs a larger budget than the labels (labels.TASK)"
            if unlabelled := int(frames.to_label((), targets).sum()):
                names, inputs = " or ".join(targets), " and ".join(name for name in self.config.inputs if name != RGB)
                message = f"none of the {unlabelled} frames without {names} carries {inputs}, which it sees"
                hint += f", or let it see {RGB} alone (inputs)"
            raise UserError(message, file=self.path, key="labels", hint=hint)
        return frames, mask

    @cached_property
    def evaluation_frames(self) -> Frames:
        """The frames of ``evaluate.split``: the drawn validation frames, or the training frames set aside."""
        config = self.config
        if config.evaluate.split == "dev":
            if not config.dev:
                hint = "set dev to a number of frames, when training too"
                raise UserError("no frames are set aside", file=self.path, key="dev", hint=hint)
            return Frames(self.manifest, TRAIN, seed=config.seed, dev=config.dev, only="dev")
        seed = config.seed if config.val_seed is None else config.val_seed
        return Frames(self.manifest, "val", seed=seed, only=config.val)

    @cached_property
    def architecture(self) -> Architecture:
        """The network, with the statistics of the training split, which normalise its inputs and initialise its
        predictions. Where RGB's backbone starts from pretrained weights, :func:`trainer.model.network.build` replaces
        the normalisation of RGB by theirs.

        Raises:
            UserError: when ``model.pretrained_inputs`` names none of the inputs, so that nothing would be pretrained.
        """
        config = self.config
        names = config.model.pretrained_inputs
        starts = config.model.pretrained and config.model.start is None
        if starts and names is not None and not {*names} & {*config.inputs}:
            message = f"{' and '.join(names)} is not an input of this network, so no backbone would be pretrained"
            hint = f"name some of its inputs ({', '.join(config.inputs)}), or set model.pretrained=false"
            raise UserError(message, file=self.path, key="model.pretrained_inputs", hint=hint)
        inputs = tuple(self.manifest.task(name) for name in config.inputs if name != "rgb")
        totals = self.manifest.statistics[TRAIN]
        labelled = {t.name for t in self.tasks if totals[t.name]["pixels"]} | {t.name for t in inputs}
        statistics = {
            task.name: mean_and_deviation
            for task in {**dict.fromkeys(inputs), **dict.fromkeys(self.tasks)}
            if task.name in labelled and (mean_and_deviation := task.storage.mean_and_deviation(totals[task.name]))
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
            name=config.model.name,
        )
