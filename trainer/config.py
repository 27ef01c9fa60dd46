"""Every option of an experiment: its type, default, meaning and properties, in one place.

This file declares an experiment's own options, and :mod:`trainer.sections` those of its sections (``train.lr`` is
:class:`trainer.sections.Train`'s). A configuration file names only what differs from these defaults and from the file
it ``inherits``; :mod:`trainer.configfile` reads it. ``tutelage config CONFIG`` prints the resolved configuration.
Further properties of an option (choices, range, whether it decides a result) are declared beside its default, with
:func:`trainer.option.option`, and nowhere else.
"""

from dataclasses import dataclass, field

from trainer.option import option
from trainer.parsing import check_unique
from trainer.sections import Augment, Checkpoint, Data, Evaluate, Label, Loss, Model, Pseudo, Run, Train


@dataclass
class Config:
    """One experiment: one network to train."""

    experiment: str = option("???", inherited=False, column="experiment")
    """Name in tables and in the folders of runs; a file's own name if it gives none."""
    seed: int = option(0, least=0, below=2**63, column="seed")
    """Seed of everything random: budgets, order, augmentation, initial weights."""
    inputs: list[str] = option(factory=lambda: ["rgb"], check=check_unique, inherited=False, row=True, column="inputs")
    """What the network sees: rgb, and tasks whose labels are given as inputs."""
    tasks: list[str] = option(
        factory=lambda: ["semseg", "depth"], check=check_unique, inherited=False, row=True, column="tasks"
    )
    """What the network predicts."""
    frames: int | None = option(None, least=1)
    """Number of training frames, whatever labels they show; null for all."""
    labels: dict[str, int | None] = option(factory=dict, least=0, wrong="frames", row=True, column="budget")
    """Budget: the number of training frames that may show each task's label; null, or no entry, for all."""
    assignment: str = option("nested", path=True, by_name=True, column="assignment")
    """Which of its labels a training frame shows, before the budgets. nested: all. one: exactly one. random: a random
    subset, at least one and not all. Or a file that lists them in lines KEY,TASK,TASK."""
    val: int | None = option(None, least=1, decides=False, measured=True)
    """Number of validation frames; null for all."""
    val_seed: int | None = option(0, least=0, below=2**63, decides=False, measured=True)
    """Seed that draws those `val` frames, the same for all runs of a table; null: each run's own, as in old runs."""
    dev: int = option(0, least=0, measured=True)
    """Training frames set aside, outside every budget, to tune on (evaluate.split=dev)."""
    pseudo: dict[str, Pseudo] = option(factory=dict, inherited=False, row=True)
    """Pseudo-labels by task; or `pseudo: auto` for those that `tutelage affinity` recommends."""
    affinity: str | None = option(None, path=True, decides=False, inherited=False, former="relation")
    """The affinity.json that `pseudo: auto` follows; null for that of this data set."""
    affinity_split: str = option("dev", choices=("dev", "val"), decides=False, inherited=False, former="relation_split")
    """Frames it was judged on: dev, or val, the validation frames, on which the student is then evaluated as well."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = option(factory=Loss, inherited=False)
    augment: Augment = field(default_factory=Augment)
    train: Train = field(default_factory=Train)
    evaluate: Evaluate = option(factory=Evaluate, decides=False)
    label: Label = option(factory=Label, decides=False)
    checkpoint: Checkpoint = option(factory=Checkpoint, decides=False)
    run: Run = option(factory=Run, decides=False)
