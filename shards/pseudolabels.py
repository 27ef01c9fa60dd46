"""Which pseudo-labels a data set uses, and how much of them."""

from dataclasses import dataclass

from shards.keep import Filter, Keep
from shards.store import Place, check_place


@dataclass(frozen=True)
class PseudoLabels:
    """A teacher's labels of one task, which are used where a sample has no label of its own.

    Args:
        folder: path or URL of the label shards, such as ``runs/.../labels/train``.
        keep: which pixels keep their label: a threshold that the confidence has to exceed; None or ``"all"`` for all;
            ``"50%"`` for the most confident half of each class; a :data:`shards.keep.Filter` of your own; or a
            :class:`shards.keep.Keep`, which has more options.
        holes: whether they also fill pixels that a sample's own label leaves unlabelled (:mod:`shards.holes`).
    """

    folder: str | Place
    keep: float | str | Filter | Keep | None = None
    holes: bool = False

    def __post_init__(self) -> None:
        check_place("folder", self.folder)
