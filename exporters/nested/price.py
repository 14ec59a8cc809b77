"""Choose, for each level, which layers the nested kernels compute and which stay ONNX Runtime's dense ones.

    dense time = 2 * multiply-adds / rate;  nested time = the same on active weights / its rate + bytes / bandwidth
           + a copy wherever a value changes between planes and images

Rates are relative to dense convolution on the same machine, so one set of constants serves a kind of processor; where
the network is built on the device's own kind of machine, choices for other rates are timed as well (choose.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from elsa_edge.exporters.nested.lay_out import lay_out, wasteful
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.store import Coded
from elsa_edge.nested_format.planes import whole_lines

__all__ = ["RATES", "Prices", "Rates", "choose_layers", "dense_us", "nested_us"]


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
        product_gflops: A sparse matrix times several vectors.
        node_us: Calling one operator.
    """

    dense_gflops: float
    dense_depthwise_gflops: float
    nested_gflops: float
    depthwise_gflops: float
    memory_gbps: float
    gather_gflops: float
    product_gflops: float
    node_us: float = 2.0


# x86-64 measured. aarch64 not: its convolutions are a model of a Cortex-A72 at 1.8 GHz (1.00 cycles a dense product of
# four, 1.06 a nested one, of which 30 % are kept back for what no model sees), the rest estimates. See docs/kernels.md.
RATES: Final[Mapping[str, Rates]] = {
    "x86-64": Rates(100.0, 20.0, 33.0, 20.0, 10.0, 2.5, 16.0),
    "aarch64": Rates(14.4, 2.9, 9.5, 3.5, 4.0, 1.0, 3.3),
}


# A value that changes its layout is read and written once, and once more to or from ONNX Runtime's own NCHWc.
_COPIES: Final = 3
# Convolutions in groups share less than dense ones and more than depthwise ones: this many times the latter's rate.
_GROUPED_OVER_DEPTHWISE: Final = 2
# What a layer writes the next one mostly finds in a shared cache, this many times as fast as memory.
_CACHE_OVER_MEMORY: Final = 4
_FLOAT_BYTES: Final = 4


def dense_us(layer: Layer, rates: Rates) -> float:
    """Return what ONNX Runtime's dense kernel takes for a layer."""
    flops = 2.0 * layer.weight.size * layer.pixels
    if layer.before is not None:
        # The weight is read again at every step, mostly from a shared cache.
        step_us = max(
            2.0 * layer.weight.size / rates.dense_gflops,
            layer.weight.nbytes / (rates.memory_gbps * _CACHE_OVER_MEMORY),
        )
        return dense_us(layer.before, rates) + layer.pixels * step_us / 1e3
    if layer.kind == "depthwise":
        return flops / rates.dense_depthwise_gflops / 1e3
    if layer.geometry is None:
        return max(flops / rates.dense_gflops, layer.weight.nbytes / rates.memory_gbps) / 1e3
    groups = layer.geometry.groups
    grouped_gflops = rates.dense_depthwise_gflops * _GROUPED_OVER_DEPTHWISE
    return flops / (rates.dense_gflops if groups == 1 else grouped_gflops) / 1e3


def nested_us(layer: Layer, coded: Coded | None, level: int, rates: Rates) -> float:
    """Return what our kernel takes for a layer at a level; `coded` is None for depthwise layers."""
    if coded is None:
        return 2.0 * layer.weight.size * layer.pixels / rates.depthwise_gflops / 1e3
    work = 2.0 * coded.work[level] * layer.pixels
    if layer.before is not None:
        return nested_us(layer.before, coded.before, level, rates) + work / rates.gather_gflops / 1e3
    if layer.geometry is None:
        gflops = rates.gather_gflops if layer.pixels == 1 else rates.product_gflops
        return max(work / gflops, coded.bytes_at(level) / rates.memory_gbps) / 1e3
    # Short images fill their last vectors badly: a 7 x 7 image takes 64 positions.
    g = layer.geometry
    positions = whole_lines(g.out_size[0] * (g.out_size[1] + max(g.input_gap, g.output_gap)))
    fill = positions / layer.pixels
    written_bytes = len(layer.weight) * layer.pixels * _FLOAT_BYTES
    cache_gbps = rates.memory_gbps * _CACHE_OVER_MEMORY
    return (work * fill / rates.nested_gflops + written_bytes / cache_gbps) / 1e3


def choose_layers(
    nodes: Sequence[ir.Node],
    layers: Sequence[Layer],
    coded: Mapping[int, Coded],
    level: int,
    rates: Rates,
    *,
    nested_factor: float = 1.0,
) -> frozenset[int]:
    """Return the positions of the layers that nested kernels should compute at `level`.

    `nested_factor` multiplies the time of nested kernels: other values give the choices of a machine on which these
    are faster or slower than the rates say. The result is the best of three descents that change one layer at a time:
    from none, from all, and from each layer's own cost.
    """
    prices = Prices.at(nodes, layers, coded, level, rates, nested_factor=nested_factor)
    gain = prices.gain_us
    starts = (
        frozenset[int](),
        frozenset(gain),
        frozenset(position for position, difference in gain.items() if difference < 0),
    )
    found = [_descend(start, list(gain), prices.difference_us) for start in starts]
    return min(found, key=prices.difference_us)


@dataclass(frozen=True)
class Prices:
    """What a choice of nested layers costs beside the dense network, at one level.

    Attributes:
        gain_us: Position of a layer -> nested time less dense time; only layers that may be nested.
    """

    gain_us: Mapping[int, float]
    _borders: Sequence[_Border]

    @classmethod
    def at(
        cls,
        nodes: Sequence[ir.Node],
        layers: Sequence[Layer],
        coded: Mapping[int, Coded],
        level: int,
        rates: Rates,
        *,
        nested_factor: float = 1.0,
    ) -> Prices:
        """Price every layer of a network at a level."""
        usable = [layer for layer in layers if not wasteful(layer)]
        gain = {
            layer.position: nested_us(layer, coded.get(layer.position), level, rates) * nested_factor
            - dense_us(layer, rates)
            for layer in usable
        }
        return cls(gain, _borders(nodes, usable, rates))

    def difference_us(self, chosen: frozenset[int]) -> float:
        """Return the time of the network with these layers nested less that of the dense network."""
        own = sum(self.gain_us[position] for position in chosen)
        return own + sum(border.cost_us(chosen) for border in self._borders)


def _descend(
    chosen: frozenset[int], positions: Sequence[int], cost: Callable[[frozenset[int]], float]
) -> frozenset[int]:
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


@dataclass(frozen=True, slots=True)
class _Border:
    """A value that planes and images may meet at.

    Attributes:
        makers: Positions of the layers that it comes from, through nodes that work on planes as they are.
        readers: Positions of the layers that read it.
        others: Whether anything else reads it.
        copy_us: What turning it from one layout into the other costs.
    """

    makers: frozenset[int]
    readers: frozenset[int]
    others: bool
    copy_us: float

    def cost_us(self, chosen: frozenset[int]) -> float:
        native = bool(self.makers & chosen)
        if native:
            return self.copy_us if self.others or not self.readers <= chosen else 0.0
        return self.copy_us if self.readers & chosen else 0.0


def _borders(nodes: Sequence[ir.Node], layers: Sequence[Layer], rates: Rates) -> list[_Border]:
    """Describe every value that a convolution reads or makes, as it is when all of them are nested."""
    images = [layer for layer in layers if layer.geometry is not None]
    layouts = lay_out(nodes, {layer.position: layer for layer in images})
    absorbed = {nodes[p] for layer in images for p in (layer.position, *layer.absorbed)}
    makers: dict[ir.Value, set[int]] = {}
    readers: dict[ir.Value, set[int]] = {}
    for layer in images:
        makers[nodes[layer.end].outputs[0]] = {layer.position}
        for position, number in [(layer.position, 0), *([layer.residual] if layer.residual else [])]:
            source = nodes[position].inputs[number]
            assert source is not None
            readers.setdefault(source, set()).add(layer.position)
    # In order: what passes planes on comes from what its inputs come from.
    for node in nodes:
        if node in layouts.passing:
            known = (makers.get(value, set()) for value in node.inputs if value is not None)
            makers[node.outputs[0]] = set().union(*known)
    inside = absorbed | layouts.passing | layouts.means
    borders = []
    for value in dict.fromkeys([*makers, *readers]):
        planes, shape = layouts.planes.get(value), value.shape
        if planes is None or shape is None or not isinstance(shape[1], int):
            continue
        copied_bytes = shape[1] * planes.stride * _FLOAT_BYTES * _COPIES
        copy_us = copied_bytes / rates.memory_gbps / 1e3 + rates.node_us
        others = value.is_graph_output() or any(use.node not in inside for use in value.uses())
        borders.append(
            _Border(frozenset(makers.get(value, ())), frozenset(readers.get(value, ())), others, copy_us)
        )
    return borders
