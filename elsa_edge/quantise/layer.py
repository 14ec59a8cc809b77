"""From a float layer to the numbers that 8-bit kernels read, one row per level.

    float     y    = act(sum(w x) * scale_k + bias_k + r)
    in codes  y'   = clamp(rint(float(sum(w' x')) * scale'_k + bias'_k + r' * share_k), low_k, high_k)

    scale'_k = scale_k * w_step * x_step_k / y_step_k
    bias'_k  = (bias_k - coding_k) / y_step_k - scale'_k * x_zero_k * sum(active w') - share_k * r_zero_k + y_zero_k
    share_k  = r_step_k / y_step_k

HardSwish and SiLU are computed on numbers: the tables then are those of the first line, with the output's step and code
of 0 behind the activation. BatchNorm lies in scale_k and bias_k; coding_k is what coding the weights adds to the mean
output. The share of the zero point is a sum over the active weights, so it differs by level as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from elsa_edge.quantise.steps import LARGEST_CODE, Steps
from elsa_edge.quantise.weights import CodedWeight

__all__ = [
    "LARGEST_BIAS",
    "LARGEST_INVERSE",
    "LARGEST_SCALE",
    "LARGEST_SHARE",
    "Tables",
    "finish_tables",
    "float_tables",
]

# Within these the kernels' arithmetic is the same on all processors; they refuse what lies outside.
LARGEST_SCALE: Final = 65536.0
LARGEST_BIAS: Final = 268435456.0
LARGEST_SHARE: Final = 65536.0
LARGEST_INVERSE: Final = 1e12


@dataclass(frozen=True)
class Tables:
    """What a kernel reads besides codes.

    Attributes:
        finish: (levels, 2, rows padded to a multiple of 4) float32 scale and bias.
        points: (levels, 6) float32: code of 0 of input and output, least and largest output code, residual's share,
            1 over the output's step where an activation stands before it, else 1.
    """

    finish: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]

    @property
    def fits(self) -> bool:
        """Whether the kernels take these numbers."""
        scale, bias = self.finish[:, 0], self.finish[:, 1]
        return bool(
            np.isfinite(self.finish).all()
            and (np.abs(scale) <= LARGEST_SCALE).all()
            and (np.abs(bias) <= LARGEST_BIAS).all()
            and (self.points[:, 4] <= LARGEST_SHARE).all()
            and (self.points[:, 5] <= LARGEST_INVERSE).all()
        )


def _padded(table: npt.NDArray[np.float64], zeros: Sequence[int]) -> npt.NDArray[np.float32]:
    """Pad rows to quads: those beyond the last give the output's code of 0."""
    levels, _, rows = table.shape
    full = np.zeros((levels, 2, -(-rows // 4) * 4))
    full[:, :, :rows] = table
    full[:, 1, rows:] = np.asarray(zeros)[:, None]
    return full.astype(np.float32)


def _common(
    table: npt.NDArray[np.float32],
    weight: CodedWeight,
    x: Sequence[Steps],
    bias_of_coding: npt.NDArray[np.float64] | None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return scale and bias of the sums in floats: (levels, rows) each."""
    x_steps, x_zeros = np.array([s.step for s in x])[:, None], np.array([s.zero for s in x])[:, None]
    # A row without active weights has a sum of 0: its scale, huge where BatchNorm saw no variance, is idle.
    there = np.stack([(weight.index <= level).any(axis=1) for level in range(len(x))])
    scale = np.where(there, table[:, 0].astype(np.float64) * weight.steps * x_steps, 0.0)
    bias = table[:, 1].astype(np.float64) - scale * x_zeros * weight.sums(len(x))
    if bias_of_coding is not None:
        bias = bias - table[:, 0] * bias_of_coding
    return scale, bias


def finish_tables(
    table: npt.NDArray[np.float32],
    weight: CodedWeight,
    x: Sequence[Steps],
    y: Sequence[Steps],
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    residual: Sequence[Steps] | None = None,
    bias_of_coding: npt.NDArray[np.float64] | None = None,
    activated: bool = False,
) -> Tables:
    """Return the numbers of a layer whose output is coded.

    Args:
        table: (levels, 2, rows) scale and bias in floats, BatchNorm included.
        weight: The codes.
        x: How the input is coded, one per level.
        y: How the output is coded.
        bounds: Of the activation, such as (0, 6).
        residual: How the value that is added is coded, if there is one.
        bias_of_coding: (levels, rows), see `CodedWeight.bias_of_coding`.
        activated: HardSwish or SiLU follows: sums become numbers first.
    """
    scale, bias = _common(table, weight, x, bias_of_coding)
    y_steps, y_zeros = np.array([s.step for s in y])[:, None], np.array([s.zero for s in y])[:, None]
    points = np.ones((len(x), 6))
    points[:, 4] = 0
    if activated:
        points[:, 5] = 1 / y_steps[:, 0]
        y_steps, y_zeros = np.ones_like(y_steps), np.zeros_like(y_zeros)
    scale, bias = scale / y_steps, bias / y_steps + y_zeros
    points[:, 0], points[:, 1] = [s.zero for s in x], [s.zero for s in y]
    for level, steps in enumerate(y):
        points[level, 2:4] = [np.clip(np.rint(b / steps.step + steps.zero), 0, LARGEST_CODE) for b in bounds]
    if residual is not None:
        points[:, 4] = np.array([s.step for s in residual]) / y_steps[:, 0]
        bias = bias - (points[:, 4] * [s.zero for s in residual])[:, None]
    idle = [0 if activated else s.zero for s in y]
    return Tables(_padded(np.stack([scale, bias], axis=1), idle), points.astype(np.float32))


def float_tables(
    table: npt.NDArray[np.float32],
    weight: CodedWeight,
    x: Sequence[Steps],
    *,
    bias_of_coding: npt.NDArray[np.float64] | None = None,
) -> Tables:
    """Return the numbers of a layer whose output stays float32, as `finish_tables`."""
    scale, bias = _common(table, weight, x, bias_of_coding)
    points = np.zeros((len(x), 6), np.float32)
    points[:, 0], points[:, 3], points[:, 5] = [s.zero for s in x], LARGEST_CODE, 1
    return Tables(_padded(np.stack([scale, bias], axis=1), [0] * len(x)), points)
