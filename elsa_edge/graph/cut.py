"""Nested levels from the magnitudes of a graph's weights, in numpy alone.

    unit        one weight, or a block of rows x inputs at one position; its score is the mean magnitude
    level k     the highest scores of all units together, until the density of level k is reached

One order of all units serves every level, so masks are nested by construction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import UnknownNameError
from elsa_edge.graph.multiplied import Factor
from elsa_edge.levels import NEVER, Ladder, LevelIndex

__all__ = ["BLOCKS", "cut"]

# Name -> (output channels, input channels) of a block.
BLOCKS: Final = {"unstructured": (1, 1), "4x1": (4, 1), "block": (4, 1), "1x4": (1, 4), "4x4": (4, 4)}


def cut(
    factors: Sequence[Factor],
    weights: Mapping[str, npt.NDArray[np.float32]],
    ladder: Ladder,
    granularity: str = "unstructured",
) -> dict[str, LevelIndex]:
    """Return a level index for each factor; each keeps at least one unit at every level.

    Args:
        factors: What the graph multiplies with.
        weights: Name -> numbers.
        ladder: Levels, sparsest first.
        granularity: A name in `BLOCKS`.

    Raises:
        UnknownNameError: When there is no such granularity.
    """
    if granularity not in BLOCKS:
        raise UnknownNameError("granularity for ONNX files", granularity, BLOCKS)
    block = BLOCKS[granularity]
    scores = [_units(factor, np.abs(weights[factor.name]).astype(np.float64), block) for factor in factors]
    sizes = [_units(factor, np.ones(factor.shape), block, total=True) for factor in factors]
    everything = np.concatenate([units.reshape(-1) for units in scores])
    weighed = np.concatenate([units.reshape(-1) for units in sizes]).astype(np.int64)
    for units, start in zip(scores, _starts(scores), strict=True):
        best = start + int(np.argmax(units.reshape(-1)))
        everything[best] = np.inf  # a weight without any active part would make its outputs constant
    blank = everything == 0  # zero already: active at no level
    order = np.argsort(-everything, kind="stable")
    reached = np.cumsum(weighed[order])
    levels = np.full(everything.size, NEVER, np.uint8)
    for level in reversed(range(len(ladder))):
        wanted = round((1.0 - ladder.sparsities[level]) * int(reached[-1]))
        count = int(np.searchsorted(reached, wanted)) + 1 if wanted else 0
        levels[order[: max(count, len(factors))]] = level
    levels[blank] = NEVER
    return {
        factor.name: _expand(factor, levels[start : start + units.size].reshape(units.shape), block)
        for factor, units, start in zip(factors, scores, _starts(scores), strict=True)
    }


def _starts(parts: Sequence[npt.NDArray[Any]]) -> list[int]:
    return [0, *np.cumsum([part.size for part in parts])[:-1].tolist()]


def _layout(factor: Factor, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return rows as (groups, out, in, positions); a depthwise layer's channels count as one group's outputs."""
    rows = factor.rows(values)
    return rows.reshape(1, -1, *rows.shape[2:]) if rows.shape[1] == 1 else rows


def _units(
    factor: Factor, values: npt.NDArray[Any], block: tuple[int, int], *, total: bool = False
) -> npt.NDArray[Any]:
    """Return the mean (or sum) of each block: (groups, row blocks, input blocks, positions)."""
    rows = _layout(factor, values)
    sums = _block_sums(rows, block)
    return sums if total else sums / _block_sums(np.ones(rows.shape), block)


def _block_sums(rows: npt.NDArray[Any], block: tuple[int, int]) -> npt.NDArray[Any]:
    groups, out, inputs, positions = rows.shape
    high, wide = math.ceil(out / block[0]), math.ceil(inputs / block[1])
    padded = np.zeros((groups, high * block[0], wide * block[1], positions))
    padded[:, :out, :inputs] = rows
    sums: npt.NDArray[Any] = padded.reshape(groups, high, block[0], wide, block[1], positions).sum((2, 4))
    return sums


def _expand(factor: Factor, units: npt.NDArray[np.uint8], block: tuple[int, int]) -> LevelIndex:
    """Give every weight the level of its block."""
    plain = factor.rows(np.empty(factor.shape, np.uint8))
    _, out, inputs, _ = _layout(factor, np.empty(factor.shape, np.uint8)).shape
    wide = np.repeat(np.repeat(units, block[0], 1), block[1], 2)[:, :out, :inputs]
    return np.ascontiguousarray(factor.from_rows(wide.reshape(plain.shape)))
