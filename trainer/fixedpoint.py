"""Sums of real quantities that do not depend on order: each is rounded to fixed point, and integers are added.

A quantity, which should be near 1, is taken in double precision and rounded to 2⁻²⁸ (4e-9); the rounding also hides
that a logarithm's last bit differs between code paths. It saturates at ±2³⁴, and NaN becomes 2³⁴: a network that has
diverged shows as a huge error, never as a number that cannot be printed. High and low bits are summed separately, which
is enough for any quantities of nearly 2³² pixels; the low part of a negative quantity is not negative, since integer
shifts round down.

Only the functions that take tensors import torch, so that commands about finished runs start without it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FRACTION_BITS, LOW_BITS, SATURATION = 28, 31, 2.0**34


def fixed_point_sum(values: "Tensor", where: "Tensor") -> "Tensor":
    """Return the sum of ``values``, of any sign, at the pixels ``where``, as ``(2,)`` int64: high and low part."""
    import torch

    values = values.nan_to_num(SATURATION).clamp(-SATURATION, SATURATION).where(where, 0)
    units = (values * 2**FRACTION_BITS).round().long()
    return torch.stack([(units >> LOW_BITS).sum(), (units & (2**LOW_BITS - 1)).sum()])


def fixed_point_mean(parts: Sequence[int], count: int) -> float:
    """Return the mean over ``count`` pixels of a :func:`fixed_point_sum`, rounded once, to a float."""
    return _units(parts) / (count << FRACTION_BITS)


def fixed_point_variance(parts: Sequence[int], square_parts: Sequence[int], count: int) -> float:
    """Return the variance over ``count`` pixels from their sum and the sum of their squares, at least 0.

    The difference is computed in integers, without cancellation; only the rounding of each value and square remains.
    """
    scaled = (count * _units(square_parts) << FRACTION_BITS) - _units(parts) ** 2
    return max(scaled, 0) / (count**2 << 2 * FRACTION_BITS)


def histogram(bins: "Tensor", where: "Tensor", count: int) -> "Tensor":
    """Return how often each of ``count`` bins occurs at the pixels ``where``, int64 ``(count,)``."""
    import torch

    bins = bins.where(where, count)  # one additional bin, for pixels that are not counted
    return torch.bincount(bins.flatten(), minlength=count + 1)[:count]


def _units(parts: Sequence[int]) -> int:
    high, low = parts
    return (high << LOW_BITS) + low
