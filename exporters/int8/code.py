"""A layer as 8-bit kernels read it: segments of quads or depthwise codes, multipliers, biases and points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.nested_format.activations import ActivationKind
from elsa_edge.nested_format.quads import encode_quads
from elsa_edge.nested_format.segments import MOST_COLUMNS
from elsa_edge.quantise.layer import Tables, finish_tables, float_tables
from elsa_edge.quantise.steps import LARGEST_CODE, Steps
from elsa_edge.quantise.weights import CodedWeight, code_rows, partners, quads

__all__ = ["ACTIVATED", "Coded8", "code_layer8", "code_recurrent8", "why_not8"]

ACTIVATED: Final = (ActivationKind.HARD_SWISH, ActivationKind.SILU)
# What four rows cost in a block that they share, over the same in blocks of their own (docs/kernels.md).
_BLOCK_ADVANTAGE: Final = 0.8
_LARGEST_SUM: Final = 2**31 - 1

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Coded8:
    """A layer's arrays.

    Attributes:
        tables: Multipliers, biases, points.
        weights: Segments, one per level that the layer has, or one array of depthwise codes.
        is_float: Its output is float32: multipliers and biases are those of the values.
        before: Of a recurrent layer: the product with its input.
        state: Of a recurrent layer: how its state is coded, one per level.
    """

    tables: Tables
    weights: tuple[Array, ...]
    is_float: bool
    before: Coded8 | None = None
    state: tuple[Steps, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the kernels take its numbers."""
        return self.tables.fits and (self.before is None or self.before.fits)


def why_not8(layer: Layer) -> str | None:
    """Return why the 8-bit kernels do not compute a layer, or None."""
    if layer.before is not None and (reason := why_not8(layer.before)) is not None:
        return reason
    if layer.geometry is None and layer.activation.kind in ACTIVATED:
        return "its activation has no 8-bit form behind a product"
    if layer.geometry is None:
        places = -(-layer.weight.shape[1] // 4)
    else:
        places = -(-layer.geometry.in_channels // 4) * layer.geometry.kernel[0] * layer.geometry.kernel[1]
    if layer.kind != "depthwise" and places > MOST_COLUMNS:
        return "it has too many inputs a row"
    if layer.weight.shape[1] * 127 * LARGEST_CODE > _LARGEST_SUM:
        return "its sums could leave 32 bits"
    return None


def code_layer8(
    layer: Layer,
    levels: int,
    x: Sequence[Steps],
    y: Sequence[Steps] | None,
    *,
    residual: Sequence[Steps] | None = None,
    means: npt.NDArray[np.float64] | None = None,
) -> Coded8:
    """Code a layer.

    Args:
        layer: What `why_not8` accepts.
        levels: Of the ladder.
        x: How its input is coded, one per level.
        y: How its output is coded; None leaves it in float32.
        residual: How the value that is added is coded, if there is one.
        means: (levels, channels) mean inputs, for the correction of biases.
    """
    coded = code_rows(layer.weight, layer.index, levels, pairs=_pairs(layer))
    bias = None if means is None else coded.bias_of_coding(layer.weight, _by_column(layer, means))
    if y is None:
        tables = float_tables(layer.table, coded, x, bias_of_coding=bias)
    else:
        bounds = (
            (layer.activation.low, layer.activation.high)
            if layer.activation.kind == ActivationKind.CLIP
            else (-np.inf, np.inf)
        )
        tables = finish_tables(
            layer.table,
            coded,
            x,
            y,
            bounds=bounds,
            residual=residual,
            bias_of_coding=bias,
            activated=layer.activation.kind in ACTIVATED,
        )
    weights = (_depthwise(coded, levels),) if layer.kind == "depthwise" else _segments(layer, coded, levels)
    return Coded8(tables, weights, y is None)


def code_recurrent8(
    layer: Layer,
    levels: int,
    x: Sequence[Steps],
    state: Sequence[Steps],
    *,
    means: npt.NDArray[np.float64] | None = None,
) -> Coded8:
    """Code a recurrent layer: both products end in float32, where the gates are.

    Args:
        layer: What `why_not8` accepts.
        levels: Of the ladder.
        x: How its input is coded, one per level.
        state: How its state is coded, anew at every step.
        means: (levels, channels) mean inputs, for the correction of biases.
    """
    assert layer.before is not None
    before = code_layer8(layer.before, levels, x, None, means=means)
    return replace(code_layer8(layer, levels, state, None), before=before, state=tuple(state))


def _pairs(layer: Layer) -> npt.NDArray[np.int64] | None:
    """Return which columns are multiplied as a pair; depthwise kernels take any codes."""
    if layer.kind == "depthwise":
        return None
    g = layer.geometry
    taps = 1 if g is None else g.kernel[0] * g.kernel[1]
    return partners(layer.weight.shape[1] // taps, 1 if g is None else g.groups, taps)


def _by_column(layer: Layer, means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean input of each column: (levels, columns), or (levels, rows, columns) where rows differ."""
    if layer.geometry is None:
        return means
    groups, taps = layer.geometry.groups, layer.geometry.kernel[0] * layer.geometry.kernel[1]
    grouped = np.repeat(means.reshape(len(means), groups, -1), taps, axis=2)
    return np.repeat(grouped, len(layer.weight) // groups, axis=1) if groups > 1 else grouped[:, 0]


def _segments(layer: Layer, coded: CodedWeight, levels: int) -> tuple[Array, ...]:
    g = layer.geometry
    groups, taps = (1, 1) if g is None else (g.groups, g.kernel[0] * g.kernel[1])
    codes, index = quads(coded.codes, groups, taps), quads(coded.index, groups, taps, fill=255)
    segments = []
    for level in range(int(coded.index[coded.index < levels].max(initial=0)) + 1):
        active = index == level
        there = _padded_rows(active.any(axis=2), 4)
        single = int(there.sum())
        shared = int(there.reshape(-1, 4, there.shape[1]).any(axis=1).sum())
        block_rows = 4 if 4 * shared * _BLOCK_ADVANTAGE < single else 1
        segments.append(encode_quads(codes, active, block_rows=block_rows))
    return tuple(segments)


def _padded_rows(there: npt.NDArray[np.bool_], multiple: int) -> npt.NDArray[np.bool_]:
    """Add empty rows up to a multiple."""
    return np.pad(there, ((0, -len(there) % multiple), (0, 0)))


def _depthwise(coded: CodedWeight, levels: int) -> Array:
    """Return codes (levels or 1, quads, tap quads, 4 channels, 4 taps) as the kernel reads them."""
    channels, taps = coded.codes.shape
    every = np.stack([np.where(coded.index <= level, coded.codes, 0) for level in range(levels)])
    if (every == every[:1]).all():
        every = every[:1]
    count, tap_quads = -(-channels // 4), -(-taps // 4)
    packed = np.zeros((len(every), count * 4, tap_quads * 4), np.int8)
    packed[:, :channels, :taps] = every
    laid = packed.reshape(len(every), count, 4, tap_quads, 4).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(laid).view(np.uint8)
