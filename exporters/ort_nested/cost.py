"""Choose, for each level, which layers the nested kernels compute and which stay ONNX Runtime's dense ones.

    time = dense layers: 2 * multiply-adds / rate        nested: the same on active weights / its rate + bytes / bandwidth
           + a copy wherever a value changes between planes and images

Rates are relative to dense convolution on the same machine, so one set of constants serves a kind of processor; where
the network is built on the device's own kind of machine, the chosen branch is also timed against the dense one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from exporters.ort_nested.layers import Layer
from exporters.ort_nested.planes import plan_planes, stride_floats, wasteful
from exporters.ort_nested.segments import Coded

__all__ = ["RATES", "Rates", "choose_layers"]


@dataclass(frozen=True, slots=True)
class Rates:
    """What a kind of processor does with one thread, at batch 1.

    Attributes:
        dense_gflops: Dense convolution, of ONNX Runtime.
        dense_depthwise_gflops: Dense depthwise convolution, of ONNX Runtime.
        nested_gflops: Multiply-adds on single active weights, times two a second.
        depthwise_gflops: Our depthwise convolution.
        memory_gbps: Reading weights and activations that are in no near cache.
        gather_gflops: A sparse matrix times one vector.
        node_us: Calling one operator.
    """

    dense_gflops: float
    dense_depthwise_gflops: float
    nested_gflops: float
    depthwise_gflops: float
    memory_gbps: float
    gather_gflops: float
    node_us: float = 2.0


# x86-64 measured (docs/kernels.md); aarch64 estimated from its vector width and load ports, not measured.
RATES: Final[Mapping[str, Rates]] = {
    "x86-64": Rates(100.0, 20.0, 33.0, 20.0, 10.0, 2.5),
    "aarch64": Rates(25.0, 5.0, 11.0, 6.0, 4.0, 1.0),
}


def _dense_us(layer: Layer, rates: Rates) -> float:
    flops = 2.0 * layer.weight.size * layer.pixels
    if layer.kind == "depthwise":
        return flops / rates.dense_depthwise_gflops / 1e3
    if layer.geometry is None:
        return max(flops / rates.dense_gflops, layer.weight.nbytes / rates.memory_gbps) / 1e3
    groups = layer.geometry.groups
    return flops / (rates.dense_gflops if groups == 1 else rates.dense_depthwise_gflops * 2) / 1e3


def _nested_us(layer: Layer, coded: Coded | None, level: int, rates: Rates) -> float:
    if coded is None:
        return 2.0 * layer.weight.size * layer.pixels / rates.depthwise_gflops / 1e3
    work = 2.0 * coded.work[level] * layer.pixels
    if layer.geometry is None:
        return max(work / rates.gather_gflops, coded.bytes_at(level) / rates.memory_gbps) / 1e3
    # Short images fill their last vectors badly: a 7 x 7 image takes 64 positions.
    g = layer.geometry
    positions = -(-g.out_size[0] * (g.out_size[1] + max(g.input_gap, g.output_gap)) // 16) * 16
    fill = positions / layer.pixels
    written = len(layer.weight) * layer.pixels * 4
    return (work * fill / rates.nested_gflops + written / rates.memory_gbps / 4) / 1e3


def choose_layers(
    nodes: Sequence[ir.Node], layers: Sequence[Layer], coded: Mapping[int, Coded], level: int, rates: Rates
) -> frozenset[int]:
    """Return the positions of the layers that nested kernels should compute at `level`.

    The best of three descents that change one layer at a time: from none, from all, and from each layer's own cost.
    """
    usable = [layer for layer in layers if not wasteful(layer)]
    gain = {
        layer.position: _nested_us(layer, coded.get(layer.position), level, rates) - _dense_us(layer, rates) for layer in usable
    }
    by_position = {layer.position: layer for layer in usable}

    def cost(chosen: frozenset[int]) -> float:
        own = sum(gain[position] for position in chosen)
        return own + _copies_us(nodes, {p: by_position[p] for p in chosen}, rates)

    starts = (
        frozenset[int](),
        frozenset(gain),
        frozenset(position for position, difference in gain.items() if difference < 0),
    )
    found = [_descend(start, list(gain), cost) for start in starts]
    return min(found, key=cost)


def _descend(chosen: frozenset[int], positions: Sequence[int], cost: object) -> frozenset[int]:
    assert callable(cost)
    best = cost(chosen)
    for _ in range(3):
        before = best
        for position in positions:
            other = chosen ^ {position}
            if (price := cost(other)) < best:
                chosen, best = other, price
        if best == before:
            break
    return chosen


def _copies_us(nodes: Sequence[ir.Node], chosen: Mapping[int, Layer], rates: Rates) -> float:
    """Return what copies between planes and images cost: each is read and written once, and once more in NCHWc."""
    if not any(layer.geometry for layer in chosen.values()):
        return 0.0
    plan = plan_planes(nodes, chosen)
    dead = {id(nodes[p]) for layer in chosen.values() for p in (layer.position, *layer.absorbed)}
    dead |= plan.passing | plan.means
    total = 0.0
    seen: dict[int, ir.Value] = {}
    for layer in chosen.values():
        if layer.geometry is None:
            continue
        ends = [nodes[layer.position].inputs[0], nodes[layer.end].outputs[0]]
        if layer.residual is not None:
            ends.append(nodes[layer.residual[0]].inputs[layer.residual[1]])
        seen.update({id(value): value for value in ends if value is not None})
    for key, value in seen.items():
        copied = key not in plan.native or any(id(use.node) not in dead for use in value.uses())
        if copied and value.shape is not None and isinstance(value.shape[1], int):
            total += value.shape[1] * stride_floats(plan.layouts[key]) * 4 * 3 / rates.memory_gbps / 1e3 + rates.node_us
    return total
