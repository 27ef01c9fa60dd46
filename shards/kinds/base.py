"""Base class of the kinds: stored labels as arrays, as bytes, as files of a user's folder and as pictures."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shards.errors import UserError
from shards.form import check_array
from shards.kinds.text import missing_share, sizes
from shards.members import decode_label, encode_label
from shards.window import Window

if TYPE_CHECKING:
    from shards.tasks import Task

MISSING = (32, 32, 32)
"""The colour of pixels without a label."""


class Storage(ABC):
    """Stored labels of one task, in NumPy.

    The first axes of a label array are the frame's height and width. Each kind defines the value for "no label".

    Args:
        task: the labels' task.

    Attributes:
        kind: the kind's name in manifests.
        options: keys of ``dataset.yaml`` besides ``kind``.
        suffixes: suffixes of label files in a user's folder.
        distribution: whether a network's output is a distribution over classes, so that soft labels can be stored.
        confident: whether an output contains the probability of its decision.
        smooth: whether a picture of labels may be resized with interpolation.
        directional: whether values are directions in the camera's frame, which turn with the image.
        difference: what networks that disagree do, which ends a caption: "where A and B *say different classes*".
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[frozenset[str]] = frozenset({".png"})
    distribution: ClassVar[bool] = False
    confident: ClassVar[bool] = False
    smooth: ClassVar[bool] = True
    directional: ClassVar[bool] = False
    difference: ClassVar[str]

    def __init__(self, task: "Task") -> None:
        self.task = task

    # Declaration of the task

    def problem(self) -> str | None:
        """Return what is wrong with the task's declaration; None where it is valid."""
        return None

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of channels of a network's output."""

    def to_json(self) -> dict[str, Any]:
        """Return the entries of a manifest for the task, besides its kind."""
        return {}

    @classmethod
    def fields(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of :class:`shards.tasks.Task` for a manifest's entry: the inverse of :meth:`to_json`."""
        return {}

    @property
    def is_depth(self) -> bool:
        """Whether labels are distances to the camera, from which surface normals follow."""
        return False

    def range_problem(self) -> str | None:
        """Return why an evaluation cannot be limited to a range of values; None where it can."""
        return "has no range: it is not a task of kind scalar"

    def input_problem(self, statistics: tuple[float, float] | None) -> str | None:
        """Return why labels cannot be normalised as a network's input; None where they can.

        Args:
            statistics: their mean and standard deviation (:meth:`mean_and_deviation`), where they are known.
        """
        return None

    # Arrays

    @abstractmethod
    def empty(self, height: int, width: int) -> np.ndarray:
        """Return a label array in which no pixel has a label."""

    @abstractmethod
    def labelled(self, label: np.ndarray) -> np.ndarray:
        """Return which pixels have a label, bool ``(H, W)``."""

    def check(self, label: Any) -> None:
        """Check that a value from a user's code is a label array: its axes and its type of numbers.

        Raises:
            UserError: when it is not. The values themselves are checked when they are stored.
        """
        check_array(label, self.empty(1, 1))

    def check_size(self, label: tuple[int, int], image: tuple[int, int]) -> None:
        """Check a label whose height and width differ from those of its image, to which it would be resized.

        Raises:
            UserError: when its pixels do not correspond to those of the image.
        """
        raise UserError(f"is {sizes(label, image)}", hint="give every label the size of its image")

    def examined(self, label: np.ndarray) -> np.ndarray:
        """Return a label array that does not come from :meth:`read_file` with the checks of that method: values that
        mean "no label" are replaced, and suspicious values are noted."""
        return label

    def keep(self, label: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Return the label array with "no label" where ``kept``, bool ``(H, W)``, is False."""
        mask = kept.reshape(kept.shape + (1,) * (label.ndim - 2))
        return np.where(mask, label, self.empty(*label.shape[:2]))

    def statistics(self, label: np.ndarray) -> dict[str, Any]:
        """Return statistics of a label array as JSON values that can be summed: ``frames``, labelled ``pixels``,
        ``missing`` pixels."""
        pixels = int(self.labelled(label).sum())
        return {"frames": 1, "pixels": pixels, "missing": int(np.prod(label.shape[:2])) - pixels}

    def mean_and_deviation(self, statistics: Mapping[str, Any]) -> tuple[float, float] | None:
        """Return the mean and standard deviation of many frames' labels; None for kinds whose labels have no mean."""
        return None

    def describe(self, statistics: Mapping[str, Any]) -> str:
        """Format statistics of many frames as a line of text."""
        return f"{missing_share(statistics):.1f} % missing"

    def remarks(self, statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return what looks wrong with the labels of a data set, as sentences for whoever prepares it.

        Args:
            statistics: statistics by split, of the splits in which a frame has the label.
        """
        return []

    # Groups of pixels with separate counts of confidence and separate thresholds

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups; empty where all pixels form one group."""
        return ()

    @property
    def groups(self) -> int:
        return max(1, len(self.group_names))

    def group_of(self, label: np.ndarray) -> np.ndarray | int:
        """Return the group of each pixel."""
        return 0

    # Bytes

    def storable(self, label: np.ndarray) -> np.ndarray:
        """Return the label array that will be read back: values that cannot be stored become the nearest that can. This
        is for predictions; in raw labels such values are errors of :meth:`encode`."""
        return label

    @property
    @abstractmethod
    def mode(self) -> str:
        """Mode of the image that labels are stored as, one of :data:`shards.codec.MODES`."""

    @abstractmethod
    def to_stored(self, label: np.ndarray) -> np.ndarray:
        """Convert a label array to the numbers of that image, ``(H, W)`` or ``(H, W, 3)``, without loss unless the
        kind's documentation says otherwise.

        Raises:
            UserError: when a value cannot be stored.
        """

    @abstractmethod
    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        """Convert such numbers, of a whole image or any part of one, to a label array.

        Raises:
            UserError: when the task does not allow a value.
        """

    def encode(self, label: np.ndarray, extension: str = "png") -> bytes:
        """Encode a label array as member ``KEY.TASK.png``, or in another of :data:`shards.members.LABEL_FORMATS`.

        Raises:
            UserError: when a value cannot be stored.
        """
        return encode_label(self.to_stored(label), extension)

    def decode(self, data: bytes, extension: str = "png", window: Window | None = None) -> np.ndarray:
        """Decode a member to a label array, whole or a window of it.

        Raises:
            UserError: when it does not decode, or the task does not allow a value.
        """
        return self.from_stored(decode_label(data, self.mode, extension, window))

    # Files of a user's folder

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parse an entry of ``dataset.yaml``.

        Returns:
            Fields of :class:`shards.tasks.Task`, and how label files are read, as JSON values.

        Raises:
            UserError: for values that are not a valid task.
        """
        return {}, {}

    def guesses(self, given: Collection[str]) -> list[str]:
        """Return what is assumed of the task, as sentences.

        Args:
            given: the keys of its entry in ``dataset.yaml``.

        Raises:
            UserError: when a property cannot be guessed and has to be declared.
        """
        return []

    @abstractmethod
    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        """Read the label array of a file.

        Args:
            how: the second value that :meth:`declared` returned, and as ``given`` the keys of the task's entry.

        Raises:
            UserError: when it cannot be read, or holds values that were not declared.
        """

    def write_file(self, label: np.ndarray) -> bytes:
        """Return the bytes of a label file that :meth:`read_file` reads if the task is declared by :meth:`to_json`."""
        return self.encode(self.storable(label))

    # Pictures

    def limits(self, labels: Iterable[np.ndarray]) -> tuple[float, float] | None:
        """Return the smallest and largest value of label arrays, so that their pictures can have one colour map; None
        without any, and for kinds without a colour map."""
        return None

    @abstractmethod
    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        """Draw a label array in colours, ``(H, W, 3)`` uint8; pixels without a label are :data:`MISSING`.

        Args:
            limits: smallest and largest value of the colour map, for kinds that have one; None for those of the label.
        """

    def legend(self) -> np.ndarray | None:
        """Return a label array whose picture explains the colours; None where no picture can."""
        return None

    def occurring(self, labels: Iterable[np.ndarray]) -> list[tuple[str, tuple[int, int, int]]]:
        """Return names and colours of the parts that occur in label arrays, for kinds whose colours have names."""
        return []

    def key(
        self, labels: Iterable[np.ndarray], limits: tuple[float, float] | None = None
    ) -> list[tuple[str, tuple[int, int, int]]]:
        """Return texts and colours that explain pictures of label arrays: the parts that occur, or the ends of a colour
        map.

        Args:
            limits: those that all pictures were drawn with; None where each has its own.
        """
        return self.occurring(labels)

    # Text

    @abstractmethod
    def glance(self, label: np.ndarray) -> str:
        """Summarise a label array in a few words."""

    @abstractmethod
    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        """Compare a label array with the ground truth of a frame, in a few characters; empty without ground truth."""

    @abstractmethod
    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return where two label arrays of one size differ noticeably, bool ``(H, W)``."""
