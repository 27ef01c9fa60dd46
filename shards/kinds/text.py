"""Sizes, shares and YAML numbers of the kinds' messages and declarations."""

import sys
from collections.abc import Mapping
from typing import Any


def sizes(label: tuple[int, int], image: tuple[int, int]) -> str:
    """Format the sizes of a label and its image."""
    return f"{label[0]}x{label[1]}, its image {image[0]}x{image[1]}"


def percent(share: float) -> str:
    """Format a share as a percentage: 0.123 becomes ``12 %``."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def missing_share(statistics: Mapping[str, Any]) -> float:
    """Return the share of pixels without a label in labelled frames, in percent."""
    return 100 * statistics["missing"] / max(statistics["pixels"] + statistics["missing"], 1)


def is_whole(value: Any) -> bool:
    """Whether a value of YAML is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value of YAML is a number, neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
