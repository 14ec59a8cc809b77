"""Which layers of a level might be nested, and which dense: what timing chooses from.

    all       every layer nested, what lies between them in float32
    mixes     the runs of layers, from input to output, that are cheapest by the cost model, conversions between the two
              layouts included, were nested kernels 1x, 0.5x, 2x as slow as it says; ONNX Runtime's dense 8-bit kernels
              compute the others
    all but   every layer nested, and what lies between them in ONNX Runtime's 8 bits

A handful of borders covers most machines without measuring single layers: what a layer costs alone says little where
it decides whether its neighbours' values are converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from elsa_edge.exporters.nested.layer import Layer

__all__ = ["SLOWNESS", "Mix", "active_fours", "candidates"]

# An active multiply-add of the nested 8-bit kernels over one of the dense 8-bit kernels (docs/int8.md).
SLOWNESS: Final = 3.3
_FACTORS: Final = (1.0, 0.5, 2.0)
# Turning one value into the other layout and back into codes, in multiply-adds of the dense 8-bit kernels: on
# MobileNetV2 the 112 x 112 x 32 values behind a dense stem cost 1.2 of 9 ms for 300 million (AVX2).
_CONVERSION: Final = 100.0
_TOGETHER: Final = 4


@dataclass(frozen=True, slots=True)
class Mix:
    """What computes a level.

    Attributes:
        nested: Positions of the layers that our kernels compute; none: ONNX Runtime's dense 8-bit network.
        others_dense8: ONNX Runtime's 8-bit kernels compute the others, not its float kernels.
    """

    nested: frozenset[int]
    others_dense8: bool = False


def active_fours(layer: Layer, level: int) -> float:
    """Return the share of a weight that is multiplied when four input channels go together or not at all.

    Single zeros then save little: at 10 % of the weights, spread by chance, a third of the fours hold one.
    """
    index = layer.index  # (rows, columns), and columns of a convolution are (input channels, taps)
    taps = 1 if layer.geometry is None else layer.geometry.kernel[0] * layer.geometry.kernel[1]
    by_channel = index.reshape(len(index), -1, taps)
    if by_channel.shape[1] % _TOGETHER:
        return float(np.mean(index <= level))
    fours = by_channel.reshape(len(index), -1, _TOGETHER, taps).min(axis=2)
    return float(np.mean(fours <= level))


def candidates(
    layers: Mapping[int, Layer], linked: Sequence[frozenset[int]], level: int, *, others: bool
) -> list[Mix]:
    """Return different mixes for a level, all nested first, none of them all dense.

    Args:
        layers: Position -> layer, of those that are in 8 bits.
        linked: Positions that are all nested or all dense, in order: codes in rows lie between them.
        level: The level.
        others: Whether ONNX Runtime's 8-bit kernels compute anything where every layer is nested.
    """
    every = frozenset(layers)
    found = [Mix(_cheapest(layers, linked, level, factor), True) for factor in _FACTORS]
    kept = [mix for mix in found if mix.nested and (others or mix.nested != every)]
    return list(dict.fromkeys([Mix(every), *kept, *([Mix(every, True)] if others else [])]))


def _cheapest(
    layers: Mapping[int, Layer], linked: Sequence[frozenset[int]], level: int, factor: float
) -> frozenset[int]:
    """Return the layers that are nested in the cheapest chain: a layer's cost, and a conversion where kinds change."""
    dense, nested = (
        (0.0, frozenset[int]()),
        (0.0, frozenset[int]()),
    )  # (cost, nested layers) that end in each kind
    conversion = 0.0
    for group in linked:
        work = float(sum(_work(layers[p]) for p in group))
        slow = sum(_work(layers[p]) * _slowness(layers[p], level) for p in group) * factor
        from_dense, from_nested = (dense[0] + conversion, dense[1]), (nested[0] + conversion, nested[1])
        before = (min(dense, from_nested, key=_cost), min(nested, from_dense, key=_cost))
        dense, nested = (before[0][0] + work, before[0][1]), (before[1][0] + slow, before[1][1] | group)
        last = layers[max(group)]
        conversion = _CONVERSION * len(last.weight) * last.pixels
    return min(dense, nested, key=_cost)[1]


def _cost(chain: tuple[float, frozenset[int]]) -> float:
    return chain[0]


def _work(layer: Layer) -> int:
    return layer.weight.size * layer.pixels


def _slowness(layer: Layer, level: int) -> float:
    """Return the time of a layer in our kernels over ONNX Runtime's dense 8-bit ones; depthwise, both are dense."""
    return 1.0 if layer.kind == "depthwise" else SLOWNESS * active_fours(layer, level)
