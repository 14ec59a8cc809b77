"""Codes of weights: a signed byte with one step per row, the same code at every level.

w = code * step        step = max |w| / 127, or less where cutting the extremes costs less than coarse steps

Processors that multiply pairs of bytes into 16 bits take pairs with |code 0| + |code 1| <= 128 only, and a pair beyond
that costs a second block at every inference. A sparse level keeps the largest weights, so there nearly every block
would be double. Steps are therefore wide enough for the largest pair of a row: at most twice as wide, which is what
others do on such processors for all weights (7 bits), and 1.3 times on weights of a normal distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST_WEIGHT", "CodedWeight", "code_rows", "partners", "quads"]

LARGEST_WEIGHT: Final = 127
_LARGEST_PAIR: Final = 128
_SHRINKS: Final = (1.0, 0.95, 0.9, 0.85, 0.8)


@dataclass(frozen=True)
class CodedWeight:
    """A weight in codes.

    Attributes:
        codes: (rows, columns) int8, none -128.
        steps: (rows) of the codes.
        index: (rows, columns) uint8 level index.
    """

    codes: npt.NDArray[np.int8]
    steps: npt.NDArray[np.float64]
    index: npt.NDArray[np.uint8]

    def sums(self, levels: int) -> npt.NDArray[np.float64]:
        """Return the sum of each row's active codes: (levels, rows)."""
        rows = [np.where(self.index <= k, self.codes, 0).sum(axis=1, dtype=np.int64) for k in range(levels)]
        return np.stack(rows).astype(np.float64)

    def bias_of_coding(
        self, weight: npt.NDArray[np.float32], means: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return what coding adds to the mean of `sum(w x)`: (levels, rows).

        Args:
            weight: (rows, columns) what was coded.
            means: (levels, columns), or (levels, rows, columns) where rows see other inputs: the mean inputs.
        """
        error = self.codes * self.steps[:, None] - weight
        found = [(np.where(self.index <= k, error, 0.0) * mean).sum(axis=1) for k, mean in enumerate(means)]
        return np.stack(found)


def partners(share: int, groups: int, taps: int) -> npt.NDArray[np.int64]:
    """Return which column each column is multiplied with in one pair: (groups, columns), -1 for none.

    Args:
        share: Input channels of a group.
        groups: Of the convolution.
        taps: Places of the kernel; 1 for a matrix.
    """
    channel = np.arange(groups)[:, None] * share + np.arange(share)  # of the whole input
    other = (channel ^ 1) - channel[:, :1]
    column = other[:, :, None] * taps + np.arange(taps)
    there = (other >= 0) & (other < share)
    return np.where(there[:, :, None], column, -1).reshape(groups, -1)


def code_rows(
    weight: npt.NDArray[Any],
    index: npt.NDArray[np.uint8],
    levels: int,
    *,
    pairs: npt.NDArray[np.int64] | None = None,
) -> CodedWeight:
    """Return the codes with the least squared error over the weights that are active at any level.

    Args:
        weight: (rows, columns) finite floats.
        index: (rows, columns) level index.
        levels: Their number; weights of no level get code 0.
        pairs: From `partners`: no two codes of a pair add up to more than 128. None lets them be what they are.
    """
    kept = np.where(index < levels, weight, 0.0).astype(np.float64)
    largest = np.maximum(
        np.abs(kept).max(axis=1, initial=0.0), _of_pairs(kept, pairs).max(axis=1, initial=0.0)
    )
    largest = np.where(largest > 0, largest, float(LARGEST_WEIGHT))
    best_error = np.full(len(kept), np.inf)
    codes = np.zeros(kept.shape, np.int8)
    steps = np.ones(len(kept))
    for shrink in _SHRINKS:
        step = largest * shrink / LARGEST_WEIGHT
        tried = np.clip(np.rint(kept / step[:, None]), -LARGEST_WEIGHT, LARGEST_WEIGHT)
        together = _of_pairs(tried, pairs)
        tried = np.where(together > _LARGEST_PAIR, np.trunc(tried * _LARGEST_PAIR / together.clip(1)), tried)
        error = np.square(tried * step[:, None] - kept).sum(axis=1)
        better = error < best_error
        best_error[better], steps[better] = error[better], step[better]
        codes[better] = tried[better].astype(np.int8)
    return CodedWeight(codes, steps, index)


def _of_pairs(values: npt.NDArray[Any], pairs: npt.NDArray[np.int64] | None) -> npt.NDArray[np.float64]:
    """Return the magnitude of each value and its partner together: (rows, columns), 0 where it has none."""
    together = np.zeros(values.shape)
    if pairs is None:
        return together
    magnitude = np.abs(values).reshape(len(pairs), -1, values.shape[1])  # rows of a group lie together
    for of_group, group, partner in zip(together.reshape(magnitude.shape), magnitude, pairs, strict=True):
        of_group[:, partner >= 0] = group[:, partner >= 0] + group[:, partner[partner >= 0]]
    return together


def quads(values: npt.NDArray[Any], groups: int, taps: int, fill: Any = 0) -> npt.NDArray[Any]:
    """Lay the columns of a convolution out as quads of the whole input: (rows, quads * taps, 4).

    Args:
        values: (rows, channels of a group * taps), columns in the order (channel, tap).
        groups: Of the convolution. Rows of one group have `fill` at the channels of the others.
        taps: Places of the kernel; 1 for a matrix.
        fill: What stands where there is no weight.
    """
    rows, share = values.shape[0], values.shape[1] // taps
    count = -(-share * groups // 4)
    laid = np.full((rows, count * 4, taps), fill, values.dtype)
    by_channel = values.reshape(rows, share, taps)
    per_group = rows // groups
    for group in range(groups):
        members = slice(group * per_group, (group + 1) * per_group)
        laid[members, group * share : (group + 1) * share] = by_channel[members]
    return np.ascontiguousarray(laid.reshape(rows, count, 4, taps).transpose(0, 1, 3, 2)).reshape(rows, -1, 4)
