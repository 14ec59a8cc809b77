"""Which values of a network are codes between 8-bit kernels, in which form, and with which border.

    planes   images of quads (native/int8.h), made and read by convolutions and maxima; means read them
    rows     vectors of codes, where one matrix product reads what another makes

Values that must lie alike (a residual and its sum, input and output of a size-keeping convolution) share one gap, the
largest that any of them needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from elsa_edge.exporters.int8.between import gated_input, scales_of
from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.exporters.nested.networks import array_of, image_of
from elsa_edge.exporters.nested.pool import pool_geometry
from elsa_edge.nested_format.planes import Planes

__all__ = ["Codes", "lay_out"]


@dataclass
class Codes:
    """What `lay_out` decided.

    Attributes:
        planes: value -> layout, for every value that is ever needed as planes.
        pools: node -> its window, for maxima over planes.
        means: Nodes that average planes over their image.
        gates: Nodes that multiply planes with a number a channel -> number of the input that is planes.
        larger: Nodes that repeat pixels -> how often, vertically and horizontally.
        together: Nodes that put the channels of several planes one after the other.
        rows: Values that are rows of codes.
        like: value -> the value whose steps it has: what a maximum makes or a larger image, and what is put together.
    """

    planes: dict[ir.Value, Planes] = field(default_factory=dict)
    pools: dict[ir.Node, Geometry] = field(default_factory=dict)
    means: set[ir.Node] = field(default_factory=set)
    gates: dict[ir.Node, int] = field(default_factory=dict)
    larger: dict[ir.Node, tuple[int, int]] = field(default_factory=dict)
    together: set[ir.Node] = field(default_factory=set)
    rows: set[ir.Value] = field(default_factory=set)
    like: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def root(self, value: ir.Value) -> ir.Value:
        """Return the value whose steps a value has."""
        while value in self.like:
            value = self.like[value]
        return value

    @property
    def between(self) -> set[ir.Node]:
        """The nodes between layers that work on codes."""
        return {*self.pools, *self.means, *self.gates, *self.larger, *self.together}

    @property
    def made(self) -> list[ir.Value]:
        """Values with steps of their own that no layer makes."""
        return [node.outputs[0] for node in (*self.gates, *self.together)]


class _Gaps:
    """The gap of each set of values that must share one."""

    def __init__(self) -> None:
        self._parent: dict[ir.Value, ir.Value] = {}
        self._gap: dict[ir.Value, int] = {}

    def of(self, key: ir.Value) -> int:
        return self._gap[self._root(key)]

    def need(self, key: ir.Value, gap: int) -> None:
        root = self._root(key)
        self._gap[root] = max(self._gap[root], gap)

    def join(self, a: ir.Value, b: ir.Value) -> None:
        first, second = self._root(a), self._root(b)
        self._parent[second] = first
        self._gap[first] = max(self._gap[first], self._gap[second])

    def _root(self, key: ir.Value) -> ir.Value:
        self._parent.setdefault(key, key)
        self._gap.setdefault(key, 0)
        while self._parent[key] != key:
            key = self._parent[key]
        return key


def lay_out(nodes: Sequence[ir.Node], layers: Mapping[int, Layer]) -> Codes:
    """Decide the form of every value around the chosen layers.

    Args:
        nodes: All nodes of the network, in order.
        layers: Position -> layer that an 8-bit kernel computes.
    """
    codes, gaps = Codes(), _Gaps()
    sizes: dict[ir.Value, tuple[int, int]] = {}
    made: set[ir.Value] = set()
    ends = {layer.end: layer for layer in layers.values()}
    covered = {p for layer in layers.values() for p in (layer.position, *layer.absorbed)}
    for position, node in enumerate(nodes):
        if position in ends:
            if ends[position].geometry is not None:
                _convolution(nodes, ends[position], gaps, sizes)
                made.add(node.outputs[0])
        elif position not in covered:
            _between(node, codes, gaps, sizes, made)
    codes.planes = {key: Planes(h, w, gaps.of(key)) for key, (h, w) in sizes.items()}
    codes.rows = _rows(nodes, layers)
    return codes


def _convolution(
    nodes: Sequence[ir.Node], layer: Layer, gaps: _Gaps, sizes: dict[ir.Value, tuple[int, int]]
) -> None:
    g = layer.geometry
    assert g is not None
    source, result = nodes[layer.position].inputs[0], nodes[layer.end].outputs[0]
    assert source is not None
    sizes[source], sizes[result] = g.in_size, g.out_size
    gaps.need(source, g.input_gap)
    gaps.need(result, g.output_gap)
    if g.keeps_size:
        gaps.join(source, result)
    if layer.residual is not None:
        other = nodes[layer.residual[0]].inputs[layer.residual[1]]
        assert other is not None
        sizes[other] = g.out_size
        gaps.join(result, other)


def _between(
    node: ir.Node, codes: Codes, gaps: _Gaps, sizes: dict[ir.Value, tuple[int, int]], made: set[ir.Value]
) -> None:
    source = node.inputs[0] if node.inputs else None
    if source is None or node.domain not in ("", "ai.onnx"):
        return
    if node.op_type == "Concat":
        _put_together(node, codes, gaps, sizes, made)
        return
    gated = gated_input(node, made)
    if gated is not None:
        result, planes = node.outputs[0], node.inputs[gated]
        assert planes is not None
        codes.gates[node] = gated
        sizes[result] = sizes[planes]
        gaps.join(planes, result)
        made.add(result)
        return
    if source not in made:
        return
    scales = scales_of(node)
    if scales is not None:
        result = node.outputs[0]
        codes.larger[node], codes.like[result] = scales, source
        sizes[result] = (sizes[source][0] * scales[0], sizes[source][1] * scales[1])
        gaps.need(result, 0)
        made.add(result)
        return
    if node.op_type == "GlobalAveragePool" or (node.op_type == "ReduceMean" and _is_spatial(node)):
        codes.means.add(node)
        return
    window = pool_geometry(node) if node.op_type == "MaxPool" else None
    if window is None:
        return
    result = node.outputs[0]
    codes.pools[node] = window
    codes.like[result] = source
    sizes[result] = window.out_size
    gaps.need(result, (window.kernel[1] - 1) * window.dilation[1] // window.stride[1])
    if window.keeps_size:
        gaps.need(source, max(window.pads))
        gaps.join(source, result)
    made.add(result)


def _put_together(
    node: ir.Node, codes: Codes, gaps: _Gaps, sizes: dict[ir.Value, tuple[int, int]], made: set[ir.Value]
) -> None:
    """Take a concatenation of channels in whole quads; what it puts together then has the steps of the result.

    A value that is put together twice would have two steps: the second time stays in float32.
    """
    result, inputs = node.outputs[0], [value for value in node.inputs if value is not None]
    shapes = [image_of(value) for value in inputs]
    roots, before = {codes.root(value) for value in inputs}, {one.outputs[0] for one in codes.together}
    if node.attributes.get_int("axis", 0) not in (1, -3) or image_of(result) is None:
        return
    if not all(value in made for value in inputs) or len({sizes[value] for value in inputs}) != 1:
        return
    if any(shape is None or shape[0] % 4 for shape in shapes[:-1]) or roots & before:
        return
    codes.together.add(node)
    for root in roots:
        codes.like[root] = result
    sizes[result] = sizes[inputs[0]]
    for value in inputs:
        gaps.join(value, result)
    made.add(result)


def _is_spatial(node: ir.Node) -> bool:
    axes = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
    rank = None if node.inputs[0] is None or node.inputs[0].shape is None else len(node.inputs[0].shape)
    return rank == 4 and axes is not None and sorted(int(a) % 4 for a in axes.reshape(-1)) == [2, 3]


def _rows(nodes: Sequence[ir.Node], layers: Mapping[int, Layer]) -> set[ir.Value]:
    """Return the values that one product makes and only others read."""
    products = {nodes[p] for p, layer in layers.items() if layer.geometry is None}
    rows: set[ir.Value] = set()
    for layer in layers.values():
        result = nodes[layer.end].outputs[0]
        uses = list(result.uses())
        inside = bool(uses) and not result.is_graph_output()
        if layer.kind == "matmul" and inside and all(use.node in products and use.idx == 0 for use in uses):
            rows.add(result)
    return rows
