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

from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.exporters.nested.networks import array_of
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
        rows: Values that are rows of codes.
        like: value -> the value whose steps it has, for what a maximum makes.
    """

    planes: dict[ir.Value, Planes] = field(default_factory=dict)
    pools: dict[ir.Node, Geometry] = field(default_factory=dict)
    means: set[ir.Node] = field(default_factory=set)
    rows: set[ir.Value] = field(default_factory=set)
    like: dict[ir.Value, ir.Value] = field(default_factory=dict)


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
    if source is None or source not in made or node.domain not in ("", "ai.onnx"):
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
