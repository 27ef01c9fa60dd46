"""What a kind has to say of labels at rest: as arrays, as bytes, as files of a user's folder, as pictures."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shards.form import check_array
from shards.members import decode_label, encode_label
from shards.window import Window

if TYPE_CHECKING:
    from shards.tasks import Task

MISSING = (32, 32, 32)
"""The colour of pixels without a label."""


@dataclass(frozen=True)
class Metric:
    """A scalar metric of ``result.json``.

    Args:
        name: its key there.
        title: as tables and charts show it.
        factor: what it is multiplied by for them: 100 for percent.
        digits: decimals that they show.
        smaller_is_better: the direction.
        shown: whether tables of results have a column of it.
    """

    name: str
    title: str
    factor: float = 1
    digits: int = 3
    smaller_is_better: bool = False
    shown: bool = False


class Storage(ABC):
    """Labels of one task at rest, in numpy.

    A label array has the frame's height and width first; what stands for "no label" in it is the kind's choice.

    Args:
        task: whose labels they are.

    Attributes:
        kind: the name in manifests.
        options: keys of ``dataset.yaml`` beside ``kind``.
        suffixes: of label files in a user's folder.
        distribution: whether a network's output is a distribution over classes, of which soft labels can be stored.
        confident: whether an output says itself how sure it is of a decision, as a probability.
        metrics: scalar ones that a network is measured by, those of tables in their order; the first is the one that
            networks are compared by, where only one is asked for.
        quantity: whether labels are values in a unit, which have a mean and a range.
        smooth: whether a picture of labels may be resized smoothly.
        directional: whether values are directions in the camera's frame, which turn with the image.
        difference: when two labels of a pixel count as different, as the end of a sentence about two networks.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[frozenset[str]] = frozenset({".png"})
    distribution: ClassVar[bool] = False
    confident: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]]
    quantity: ClassVar[bool] = False
    smooth: ClassVar[bool] = True
    directional: ClassVar[bool] = False
    difference: ClassVar[str]

    def __init__(self, task: "Task") -> None:
        self.task = task

    # What the task's declaration means

    def problem(self) -> str | None:
        """What is wrong with the task's declaration, if anything is."""
        return None

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of a network's output."""

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of the task beside its kind."""
        return {}

    @classmethod
    def fields(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the :class:`shards.tasks.Task` of a manifest's entry: the inverse of :meth:`to_json`."""
        return {}

    # Arrays

    @abstractmethod
    def empty(self, height: int, width: int) -> np.ndarray:
        """A label array without a label."""

    @abstractmethod
    def labelled(self, label: np.ndarray) -> np.ndarray:
        """Which pixels have a label, bool ``(H, W)``."""

    def check(self, label: Any) -> None:
        """Make sure that what somebody gives as a label array is one: its axes, and the sort of its numbers.

        Raises:
            UserError: when it is not. Its values are looked at when they are stored.
        """
        check_array(label, self.empty(0, 0))

    def examined(self, label: np.ndarray) -> np.ndarray:
        """A label array that did not come from :meth:`read_file`, with the same care: values that mean "no label"
        become it, and what looks wrong is noted."""
        return label

    def keep(self, label: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The label array with "no label" where ``kept``, bool ``(H, W)``, is False."""
        of_pixel = kept.reshape(kept.shape + (1,) * (label.ndim - 2))
        return np.where(of_pixel, label, self.empty(*label.shape[:2]))

    def statistics(self, label: np.ndarray) -> dict[str, Any]:
        """Statistics of a label array as JSON values that can be added up: ``frames``, labelled ``pixels``, ``missing``
        ones."""
        pixels = int(self.labelled(label).sum())
        return {"frames": 1, "pixels": pixels, "missing": int(np.prod(label.shape[:2])) - pixels}

    def describe(self, statistics: Mapping[str, Any]) -> str:
        """Statistics of many frames as a line of text."""
        return f"{missing_share(statistics):.1f} % missing"

    def remarks(self, statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What looks wrong about the labels of a data set, as sentences for whoever prepares it.

        Args:
            statistics: by split, of those splits in which a frame has the label.
        """
        return []

    # Groups of pixels whose confidences are counted, and thresholds found, apart from each other

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups; none where all pixels are one."""
        return ()

    @property
    def groups(self) -> int:
        return max(1, len(self.group_names))

    def group_of(self, label: np.ndarray) -> np.ndarray | int:
        """The group of each pixel."""
        return 0

    # Bytes

    def storable(self, label: np.ndarray) -> np.ndarray:
        """The label array that will be read back: values that cannot be stored become the nearest that can, which is
        done to predictions. Of raw labels they are errors of :meth:`encode`."""
        return label

    @property
    @abstractmethod
    def mode(self) -> str:
        """The image that labels are stored as, one of :data:`shards.codec.MODES`."""

    @abstractmethod
    def to_stored(self, label: np.ndarray) -> np.ndarray:
        """The numbers of that image, ``(H, W)`` or ``(H, W, 3)``, without loss where the kind does not say otherwise.

        Raises:
            UserError: when a value cannot be stored.
        """

    @abstractmethod
    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        """The label array of such numbers; of any part of an image, that part's.

        Raises:
            UserError: when they hold what the task does not allow.
        """

    def encode(self, label: np.ndarray, extension: str = "png") -> bytes:
        """The member ``KEY.TASK.png`` of a label array, or that of another of :data:`shards.members.LABEL_FORMATS`.

        Raises:
            UserError: when a value cannot be stored.
        """
        return encode_label(self.to_stored(label), extension)

    def decode(self, data: bytes, extension: str = "png", window: Window | None = None) -> np.ndarray:
        """The label array of a member, or what a window of it holds.

        Raises:
            UserError: when it does not decode, or holds what the task does not allow.
        """
        return self.from_stored(decode_label(data, self.mode, extension, window))

    # Files of a user's folder

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What an entry of ``dataset.yaml`` means.

        Returns:
            Fields of the :class:`shards.tasks.Task`, and how its label files are read, as JSON values.

        Raises:
            UserError: for values that make no task.
        """
        return {}, {}

    def guesses(self, given: Collection[str]) -> list[str]:
        """What is taken for granted of the task, as sentences.

        Args:
            given: the keys that its entry of ``dataset.yaml`` has.

        Raises:
            UserError: when something cannot be guessed and has to be declared.
        """
        return []

    @abstractmethod
    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        """The label array of a file.

        Args:
            how: what :meth:`declared` gave, and as ``given`` the keys that the task's entry has.

        Raises:
            UserError: when it cannot be read, or holds what was not declared.
        """

    def write_file(self, label: np.ndarray) -> bytes:
        """The bytes of a label file that :meth:`read_file` reads where the task is declared by :meth:`to_json`."""
        return self.encode(self.storable(label))

    # Pictures

    @abstractmethod
    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        """A label array as colours, ``(H, W, 3)`` uint8; pixels without a label are :data:`MISSING`.

        Args:
            limits: smallest and largest value of a colour map, for kinds that have one; None for the label's own.
        """

    def legend(self) -> np.ndarray | None:
        """A label array whose picture explains the colours, where one picture can."""
        return None

    def occurring(self, labels: Iterable[np.ndarray]) -> list[tuple[str, tuple[int, int, int]]]:
        """Names and colours of what occurs in label arrays, of kinds whose colours have names."""
        return []

    # Words for readers

    @abstractmethod
    def glance(self, label: np.ndarray) -> str:
        """What a label array holds, in a few words."""

    @abstractmethod
    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        """How near a label array is to the truth of one frame, in a few characters; empty where nothing is known."""

    @abstractmethod
    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Where two label arrays of one size differ noticeably, bool ``(H, W)``."""


def percent(share: float) -> str:
    """0.123 → ``12 %``."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def missing_share(statistics: Mapping[str, Any]) -> float:
    """The share of the pixels of labelled frames that have no value or vector, in percent."""
    return 100 * statistics["missing"] / max(statistics["pixels"] + statistics["missing"], 1)


def is_whole(value: Any) -> bool:
    """Whether a value of YAML is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value of YAML is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
