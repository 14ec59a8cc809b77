"""Which values of a network travel as planes between nested kernels, and with which border.

Planes are the kernels' own layout (nested_format/planes.py): images whose rows are separated by a gap of zeros. Values
that must lie alike (a residual and its sum, input and output of a size-keeping convolution) share one gap, the largest
that any of them needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.exporters.nested.networks import array_of
from elsa_edge.exporters.nested.pool import pool_geometry
from elsa_edge.nested_format.planes import Planes, whole_lines

__all__ = ["Layouts", "lay_out", "wasteful"]

# f(0) = 0, so borders stay zero.
_ELEMENTWISE: Final = {"Relu", "LeakyRelu", "HardSwish", "Tanh", "Add", "Mul", "Identity", "Dropout"}
_MEANS: Final = {"GlobalAveragePool", "ReduceMean"}
# Of a row, as gap.
_LARGEST_WASTE: Final = 0.75


@dataclass(frozen=True)
class Layouts:
    """How the values around some convolutions lie in memory.

    Attributes:
        planes: The layout of every value that is ever needed as planes.
        native: Values that are computed as planes.
        passing: Nodes between kernels that work on planes as they are.
        means: Nodes that average a native value over its image.
        pools: Node -> its window, of maxima that a kernel computes.
    """

    planes: Mapping[ir.Value, Planes]
    native: AbstractSet[ir.Value]
    passing: AbstractSet[ir.Node]
    means: AbstractSet[ir.Node]
    pools: Mapping[ir.Node, Geometry]


def lay_out(nodes: Sequence[ir.Node], layers: Mapping[int, Layer], *, pools: bool = False) -> Layouts:
    """Decide the layout of every value around the chosen convolutions.

    Args:
        nodes: All nodes of the network, in order.
        layers: Position -> chosen layer; matrix products are ignored.
        pools: Whether there are kernels for maxima.
    """
    drawing = _Drawing(pools)
    ends = {layer.end: layer for layer in layers.values() if layer.geometry is not None}
    skipped = {p for layer in ends.values() for p in (layer.position, *layer.absorbed)}
    for position, node in enumerate(nodes):
        if position in ends:
            drawing.add_layer(nodes, ends[position])
        elif position not in skipped:
            drawing.add_other(node)
    return drawing.layouts()


def wasteful(layer: Layer) -> bool:
    """Tell whether a convolution needs so wide a gap that planes are mostly zeros."""
    g = layer.geometry
    return g is not None and max(g.output_gap / g.out_size[1], g.input_gap / g.in_size[1]) > _LARGEST_WASTE


class _Alike:
    """Values that must share one gap, the largest that any of them needs."""

    def __init__(self) -> None:
        self._parent: dict[ir.Value, ir.Value] = {}
        self._gap: dict[ir.Value, int] = {}

    def _root(self, value: ir.Value) -> ir.Value:
        self._parent.setdefault(value, value)
        self._gap.setdefault(value, 0)
        while self._parent[value] is not value:
            value = self._parent[value]
        return value

    def need(self, value: ir.Value, gap: int) -> None:
        root = self._root(value)
        self._gap[root] = max(self._gap[root], gap)

    def join(self, a: ir.Value, b: ir.Value) -> None:
        first, second = self._root(a), self._root(b)
        self._parent[second] = first
        self._gap[first] = max(self._gap[first], self._gap[second])

    def gap(self, value: ir.Value) -> int:
        return self._gap[self._root(value)]


class _Drawing:
    """Layouts while the nodes are walked, in order."""

    def __init__(self, pools: bool) -> None:
        self._wants_pools = pools
        self._pools: dict[ir.Node, Geometry] = {}
        self._alike = _Alike()
        self._sizes: dict[ir.Value, tuple[int, int]] = {}
        self._native: set[ir.Value] = set()
        self._passing: set[ir.Node] = set()
        self._means: set[ir.Node] = set()

    def layouts(self) -> Layouts:
        planes = {
            value: Planes(height, width, _aligned_gap(height, width, self._alike.gap(value)))
            for value, (height, width) in self._sizes.items()
        }
        return Layouts(planes, self._native, self._passing, self._means, self._pools)

    def add_layer(self, nodes: Sequence[ir.Node], layer: Layer) -> None:
        g = layer.geometry
        assert g is not None
        source, result = nodes[layer.position].inputs[0], nodes[layer.end].outputs[0]
        assert source is not None
        self._sizes[source], self._sizes[result] = g.in_size, g.out_size
        self._alike.need(source, g.input_gap)
        self._alike.need(result, g.output_gap)
        if g.keeps_size:
            self._alike.join(source, result)
        if layer.residual is not None:
            other = nodes[layer.residual[0]].inputs[layer.residual[1]]
            assert other is not None
            self._sizes[other] = g.out_size
            self._alike.join(result, other)
        self._native.add(result)

    def add_other(self, node: ir.Node) -> None:
        inputs = [value for value in node.inputs if value is not None]
        native = [value for value in inputs if value in self._native]
        if not native or node.domain not in ("", "ai.onnx"):
            return
        if node.op_type in _MEANS and _is_spatial_mean(node):
            self._means.add(node)
            return
        if self._wants_pools and node.op_type == "MaxPool":
            self._add_pool(node)
            return
        if not _passes(node, inputs, self._native):
            return
        result, size = node.outputs[0], _size(native[0])
        if size is None or any(o.uses() or o.is_graph_output() for o in node.outputs[1:]):
            return
        self._passing.add(node)
        self._native.add(result)
        self._sizes[result] = size
        for value in native:
            self._alike.join(result, value)

    def _add_pool(self, node: ir.Node) -> None:
        window = pool_geometry(node)
        if window is None:
            return
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        self._pools[node] = window
        self._sizes[result] = window.out_size
        self._alike.need(result, window.output_gap)
        if window.keeps_size:
            self._alike.need(source, max(window.pads))
            self._alike.join(source, result)
        self._native.add(result)


def _size(value: ir.Value) -> tuple[int, int] | None:
    if value.shape is None or len(value.shape) != 4:
        return None
    height, width = value.shape[2], value.shape[3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _aligned_gap(height: int, width: int, gap: int) -> int:
    """Return a gap that makes rows start at vectors, where that takes no vector more: fewer loads cross a line."""
    wider = whole_lines(width + gap)
    return (
        wider - width if gap and whole_lines(height * (width + gap)) == whole_lines(height * wider) else gap
    )


def _passes(node: ir.Node, inputs: Sequence[ir.Value], native: AbstractSet[ir.Value]) -> bool:
    """Tell whether a node computes on planes what it computes on images."""

    def is_native(value: ir.Value) -> bool:
        return value in native

    if node.op_type == "Concat":
        axis = node.attributes.get("axis")
        sizes = {_size(value) for value in inputs}
        return (
            axis is not None and axis.as_int() in (1, -3) and all(map(is_native, inputs)) and len(sizes) == 1
        )
    if node.op_type == "Clip":
        bounds = [array_of(value) for value in inputs[1:]]
        return (
            is_native(inputs[0])
            and len(node.inputs) == 3
            and all(b is not None and b.size == 1 for b in bounds)
            and len(bounds) == 2
            and float(bounds[0]) <= 0 <= float(bounds[1])  # type: ignore[arg-type]
        )
    if node.op_type not in _ELEMENTWISE:
        return False
    if len(inputs) == 1:
        return True
    shapes = [tuple(value.shape) if value.shape is not None else None for value in inputs]
    if all(map(is_native, inputs)):
        return shapes[0] is not None and len(set(shapes)) == 1
    gate = next((s for value, s in zip(inputs, shapes, strict=True) if not is_native(value)), None)
    return node.op_type == "Mul" and gate is not None and len(gate) == 4 and tuple(gate[2:]) == (1, 1)


def _is_spatial_mean(node: ir.Node) -> bool:
    source = node.inputs[0]
    if source is None or _size(source) is None:
        return False
    if node.op_type == "GlobalAveragePool":
        return True
    axes = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return axes is not None and sorted(int(a) % 4 for a in axes.reshape(-1)) == [2, 3]
