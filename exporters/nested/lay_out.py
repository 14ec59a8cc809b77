"""Which values of a network travel as planes between nested kernels, and with which border.

Planes are the kernels' own layout (nested_format/planes.py): images whose rows are separated by a gap of zeros. Values
that must lie alike (a residual and its sum, input and output of a size-keeping convolution) share one gap, the largest
that any of them needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import onnx_ir as ir

from elsa_edge.exporters.nested.find import Layer, array_of
from elsa_edge.nested_format.planes import Planes, whole_lines

__all__ = ["PlanePlan", "plan_planes", "wasteful"]

# f(0) = 0, so borders stay zero.
_ELEMENTWISE: Final = {"Relu", "LeakyRelu", "HardSwish", "Tanh", "Add", "Mul", "Identity", "Dropout"}
_MEANS: Final = {"GlobalAveragePool", "ReduceMean"}
_LARGEST_WASTE: Final = 0.75  # of a row, as gap


@dataclass
class PlanePlan:
    """What `plan_planes` decided.

    Attributes:
        layouts: id(value) -> its layout, for every value that is ever needed as planes.
        native: ids of values that are computed as planes.
        passing: Nodes between kernels that work on planes as they are.
        means: Nodes that average a native value over its image.
    """

    layouts: dict[int, Planes] = field(default_factory=dict)
    native: set[int] = field(default_factory=set)
    passing: set[int] = field(default_factory=set)
    means: set[int] = field(default_factory=set)


class _Union:
    """Values that must share one gap."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}
        self.gap: dict[int, int] = {}

    def root(self, key: int) -> int:
        self.parent.setdefault(key, key)
        self.gap.setdefault(key, 0)
        while self.parent[key] != key:
            key = self.parent[key]
        return key

    def need(self, key: int, gap: int) -> None:
        root = self.root(key)
        self.gap[root] = max(self.gap[root], gap)

    def join(self, a: int, b: int) -> None:
        first, second = self.root(a), self.root(b)
        self.parent[second] = first
        self.gap[first] = max(self.gap[first], self.gap[second])


def _size(value: ir.Value) -> tuple[int, int] | None:
    if value.shape is None or len(value.shape) != 4:
        return None
    height, width = value.shape[2], value.shape[3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def plan_planes(nodes: Sequence[ir.Node], layers: Mapping[int, Layer]) -> PlanePlan:
    """Decide the layout of every value around the chosen convolutions.

    Args:
        nodes: All nodes of the network, in order.
        layers: Position -> chosen layer; matrix products are ignored.
    """
    plan, union = PlanePlan(), _Union()
    sizes: dict[int, tuple[int, int]] = {}
    ends = {layer.end: layer for layer in layers.values() if layer.geometry is not None}
    skipped = {p for layer in ends.values() for p in (layer.position, *layer.absorbed)}
    for position, node in enumerate(nodes):
        if position in ends:
            _visit_layer(nodes, ends[position], plan, union, sizes)
        elif position not in skipped:
            _visit_other(node, plan, union, sizes)
    for key, (height, width) in sizes.items():
        plan.layouts[key] = Planes(height, width, _aligned_gap(height, width, union.gap[union.root(key)]))
    return plan


def _aligned_gap(height: int, width: int, gap: int) -> int:
    """Return a gap that makes rows start at vectors, where that takes no vector more: fewer loads cross a line."""
    wider = whole_lines(width + gap)
    return (
        wider - width if gap and whole_lines(height * (width + gap)) == whole_lines(height * wider) else gap
    )


def _visit_layer(
    nodes: Sequence[ir.Node], layer: Layer, plan: PlanePlan, union: _Union, sizes: dict[int, tuple[int, int]]
) -> None:
    g = layer.geometry
    assert g is not None
    source, result = nodes[layer.position].inputs[0], nodes[layer.end].outputs[0]
    assert source is not None
    sizes[id(source)], sizes[id(result)] = g.in_size, g.out_size
    union.need(id(source), g.input_gap)
    union.need(id(result), g.output_gap)
    if g.keeps_size:
        union.join(id(source), id(result))
    if layer.residual is not None:
        other = nodes[layer.residual[0]].inputs[layer.residual[1]]
        assert other is not None
        sizes[id(other)] = g.out_size
        union.join(id(result), id(other))
    plan.native.add(id(result))


def _visit_other(node: ir.Node, plan: PlanePlan, union: _Union, sizes: dict[int, tuple[int, int]]) -> None:
    inputs = [value for value in node.inputs if value is not None]
    native = [value for value in inputs if id(value) in plan.native]
    if not native or node.domain not in ("", "ai.onnx"):
        return
    if node.op_type in _MEANS and _is_spatial_mean(node):
        plan.means.add(id(node))
        return
    if not _passes(node, inputs, plan):
        return
    result, size = node.outputs[0], _size(native[0])
    if size is None or any(o.uses() or o.is_graph_output() for o in node.outputs[1:]):
        return
    plan.passing.add(id(node))
    plan.native.add(id(result))
    sizes[id(result)] = size
    for value in native:
        union.join(id(result), id(value))


def _passes(node: ir.Node, inputs: Sequence[ir.Value], plan: PlanePlan) -> bool:
    """Tell whether a node computes on planes what it computes on images."""

    def is_native(value: ir.Value) -> bool:
        return id(value) in plan.native

    if node.op_type == "Concat":
        axis = node.attributes.get("axis")
        sizes = {_size(value) for value in inputs}
        return (
            axis is not None and axis.as_int() in (1, -3) and all(map(is_native, inputs)) and len(sizes) == 1
        )
    if node.op_type == "Clip":
        bounds = [array_of(value) for value in inputs[1:]]
        return (
            is_native(inputs[0]) and len(node.inputs) == 3 and all(b is not None and b.size == 1 for b in bounds)
            and len(bounds) == 2 and float(bounds[0]) <= 0 <= float(bounds[1])  # type: ignore[arg-type]
        )  # fmt: skip
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


def wasteful(layer: Layer) -> bool:
    """Tell whether a convolution needs so wide a gap that planes are mostly zeros."""
    g = layer.geometry
    return g is not None and max(g.output_gap / g.out_size[1], g.input_gap / g.in_size[1]) > _LARGEST_WASTE
