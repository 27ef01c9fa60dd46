"""Tutelage from Python: ``import tutelage as tt``.

Names are loaded when they are first used, so that the import itself takes milliseconds.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shards.cache import Cache
    from shards.dataset import ShardDataset
    from shards.errors import UserError
    from shards.keep import Keep
    from shards.pseudolabels import PseudoLabels
    from shards.tasks import Task
    from trainer.config import Config
    from trainer.evaluation import evaluate
    from trainer.experiment import Experiment
    from trainer.losses import MultiTaskLoss
    from trainer.measurement import Measurement
    from trainer.model.create import create_model
    from trainer.predictor import Predictor
    from trainer.pseudolabels.labelling import label
    from trainer.runs.status import Interrupted, LostRank
    from trainer.sections import Augment
    from trainer.trainer import Trainer
    from trainer.trainingdata import TrainingData
    from trainer.validation import Validation

try:
    __version__ = version("tutelage")
except PackageNotFoundError:  # a source checkout that is not installed
    __version__ = "0+unknown"

_MODULES = {
    "Augment": "trainer.sections",
    "Cache": "shards.cache",
    "Config": "trainer.config",
    "Experiment": "trainer.experiment",
    "Interrupted": "trainer.runs.status",
    "Keep": "shards.keep",
    "LostRank": "trainer.runs.status",
    "Measurement": "trainer.measurement",
    "MultiTaskLoss": "trainer.losses",
    "Predictor": "trainer.predictor",
    "PseudoLabels": "shards.pseudolabels",
    "ShardDataset": "shards.dataset",
    "Task": "shards.tasks",
    "Trainer": "trainer.trainer",
    "TrainingData": "trainer.trainingdata",
    "UserError": "shards.errors",
    "Validation": "trainer.validation",
    "create_model": "trainer.model.create",
    "evaluate": "trainer.evaluation",
    "label": "trainer.pseudolabels.labelling",
}
__all__ = [
    "Augment",
    "Cache",
    "Config",
    "Experiment",
    "Interrupted",
    "Keep",
    "LostRank",
    "Measurement",
    "MultiTaskLoss",
    "Predictor",
    "PseudoLabels",
    "ShardDataset",
    "Task",
    "Trainer",
    "TrainingData",
    "UserError",
    "Validation",
    "create_model",
    "evaluate",
    "label",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tutelage' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
