"""Write one branch: the network of some levels, with chosen layers as nested kernels.

    PlanesFromImage -> NestedConv | NestedDepthwise | NestedConvDepthwise ... -> ImageFromPlanes,  NestedMatMul anywhere

Segments, tables and the level are inputs of the branch here; joining the branches connects them to the outer graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.exporters.nested.cells import cell_node
from elsa_edge.exporters.nested.lay_out import Layouts, lay_out
from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.exporters.nested.pairs import find_pairs
from elsa_edge.exporters.nested.store import Coded
from elsa_edge.graph.cleaning import fold_constants
from elsa_edge.graph.constants import constant
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.passes.flush_subnormals import FlushSubnormals
from elsa_edge.graph.passes.fold_batch_norm import FoldBatchNorm
from elsa_edge.nested_format.operators import (
    DOMAIN,
    FLOATS,
    Attributes,
    Family,
    Window,
    channel_attributes,
    finish_attributes,
    following,
    matmul_attributes,
    plane_attributes,
)

__all__ = ["nested_branch", "tensor_names"]

Array = npt.NDArray[Any]


def tensor_names(layer: Layer, coded: Coded | None) -> list[str]:
    """Return the names of a product's outer tensors: its table, then its segments or depthwise weights."""
    count = 1 if coded is None else len(coded.segments)
    return [f"{layer.name}.table", *[f"{layer.name}.segment_{k}" for k in range(count)]]


def nested_branch(
    model: ir.Model,
    layers: Sequence[Layer],
    coded: Mapping[int, Coded],
    last_level: int,
    family: Family = FLOATS,
) -> ir.Model:
    """Return the network of `model` with `layers` as nested kernels.

    Args:
        model: The plain network of the densest level that the branch serves; it is not modified.
        layers: The layers to replace.
        coded: Position -> segments; depthwise layers have none.
        last_level: The densest level; segments of higher levels are left out.
        family: The kernels.
    """
    copy = model.clone()
    graph = copy.graph
    nodes = list(graph)
    by_position = {layer.position: layer for layer in layers}
    writer = _Writer(graph, nodes, lay_out(nodes, by_position, pools=bool(family.max_pool)), family)
    pairs = find_pairs(nodes, layers)
    firsts = {second: by_position[first] for first, second in pairs.items()}
    covered = {p for layer in layers for p in (layer.position, *layer.absorbed)}
    by_end = {layer.end: layer for layer in layers if layer.position not in pairs}
    for position, node in enumerate(nodes):
        if position in by_end:
            layer = by_end[position]
            first = firsts.get(layer.position)
            if first is not None:
                writer.replace_pair(first, layer, coded[first.position], last_level)
            else:
                writer.replace(layer, coded.get(layer.position), last_level)
        elif position not in covered:
            writer.keep(node)
    writer.finish()
    common.RemoveUnusedNodesPass()(copy)
    graph.opset_imports[DOMAIN] = 1
    FoldBatchNorm()(copy)
    FlushSubnormals()(copy)
    # Layers that stay dense hold the numbers of the plain network, which other variants may have as well.
    fold_constants(copy, any_size=True)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(copy)
    common.RemoveUnusedNodesPass()(copy)
    return copy


class _Writer:
    """Rewrites the graph node by node; knows which values exist as planes."""

    def __init__(self, graph: ir.Graph, nodes: list[ir.Node], layouts: Layouts, family: Family) -> None:
        self.graph, self.nodes, self.layouts, self.family = graph, nodes, layouts, family
        # Of planes.
        self.unit = ir.DataType[family.element]
        self.level = self._input(LEVEL_INPUT, ir.DataType.INT64)
        # Value -> its layout; a value that takes another's place gets that one's.
        self._layout_of = dict(layouts.planes)
        # Value -> the same as planes.
        self._planes: dict[ir.Value, ir.Value] = {}
        # Values that are made as planes, and these.
        self._images: list[tuple[ir.Value, ir.Value]] = []
        # Nodes that something else computes now.
        self._dead: set[ir.Node] = set()
        self._anchor: ir.Node | None = None
        self._numbers = itertools.count()

    def _input(self, name: str, dtype: ir.DataType) -> ir.Value:
        for value in self.graph.inputs:
            if value.name == name:
                return value
        value = ir.Value(
            name=name, type=ir.TensorType(dtype), shape=ir.Shape([]) if dtype == ir.DataType.INT64 else None
        )
        self.graph.inputs.append(value)
        return value

    def _insert(self, node: ir.Node, name: str, kind: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        """Put a node before the one being worked on; its output is a tensor called `name`."""
        assert self._anchor is not None
        node.outputs[0].name = name
        node.outputs[0].type = ir.TensorType(kind)
        node.name = name
        self.graph.insert_before(self._anchor, node)
        return node.outputs[0]

    def planes_of(self, value: ir.Value) -> ir.Value:
        """Return a value as planes, converting it once where it is an image."""
        if value not in self._planes:
            self._planes[value] = self._insert(self._to_planes(value), f"{value.name}.planes", self.unit)
        return self._planes[value]

    def _to_planes(self, value: ir.Value) -> ir.Node:
        layout = self._layout_of[value]
        if layout.is_image and self.unit == ir.DataType.FLOAT:
            shape = constant(self.graph, f"{value.name}.planes_shape", np.array([0, 0, 1, -1]))
            return ir.node("Reshape", [value, shape])  # the same floats in the same places
        return ir.node(self.family.to_planes, [value], plane_attributes(layout), domain=DOMAIN)

    def replace(self, layer: Layer, coded: Coded | None, last_level: int) -> None:
        """Put a kernel in the place of a layer."""
        self._take_over(layer)
        source, result = self.nodes[layer.position].inputs[0], self.nodes[layer.end].outputs[0]
        assert source is not None
        if layer.cell is not None:
            self._recurrent(layer, coded, last_level)
            return
        if layer.geometry is None:
            made = self._product(layer, coded, last_level, source, f"{result.name}.nested")
            made.shape = result.shape
            self._become(result, made)
            return
        table, *weights = self._tensors(layer, coded, last_level)
        attributes = finish_attributes(layer.activation)
        residual = None
        if layer.residual is not None:
            other = self.nodes[layer.residual[0]].inputs[layer.residual[1]]
            assert other is not None
            residual = self.planes_of(other)
        attributes |= self._window(layer) | _channels(layer)
        operator = self.family.depthwise if coded is None else self.family.conv
        inputs = [self.planes_of(source), self.level, table, residual, *weights]
        self._image(result, ir.node(operator, inputs, attributes, domain=DOMAIN))

    def _product(
        self, layer: Layer, coded: Coded | None, last_level: int, source: ir.Value, name: str
    ) -> ir.Value:
        """Insert a product with a matrix and return what it makes."""
        table, *weights = self._tensors(layer, coded, last_level)
        attributes = finish_attributes(layer.activation) | matmul_attributes(*layer.weight.shape)
        inputs = [source, self.level, table, *weights]
        return self._insert(ir.node(self.family.matmul, inputs, attributes, domain=DOMAIN), name)

    def _recurrent(self, layer: Layer, coded: Coded | None, last_level: int) -> None:
        """Insert the product of all steps and the cells."""
        node = self.nodes[layer.position]
        source = node.inputs[0]
        assert source is not None
        assert layer.before is not None
        assert coded is not None
        gates = self._product(layer.before, coded.before, last_level, source, f"{layer.name}.gates")
        table, *segments = self._tensors(layer, coded, last_level)
        cells = cell_node(node, layer, [gates, self.level, table], segments)
        assert self._anchor is not None
        self.graph.insert_before(self._anchor, cells)
        for result, made in zip(node.outputs, cells.outputs, strict=True):
            if made.name:
                self._become(result, made)

    def replace_pair(self, first: Layer, second: Layer, coded: Coded, last_level: int) -> None:
        """Put one kernel in the place of a convolution and the depthwise one that alone reads it."""
        self._take_over(first)
        self._take_over(second)
        source, result = self.nodes[first.position].inputs[0], self.nodes[second.end].outputs[0]
        assert source is not None
        table, *segments = self._tensors(first, coded, last_level)
        attributes = finish_attributes(first.activation) | self._window(first) | _channels(first)
        attributes |= following(finish_attributes(second.activation) | self._window(second))
        inputs = [
            self.planes_of(source),
            self.level,
            table,
            *self._tensors(second, None, last_level),
            *segments,
        ]
        self._image(result, ir.node(self.family.conv_depthwise, inputs, attributes, domain=DOMAIN))

    def _take_over(self, layer: Layer) -> None:
        self._anchor = self.nodes[layer.end]
        self._dead.update(self.nodes[p] for p in (layer.position, *layer.absorbed))

    def _tensors(self, layer: Layer, coded: Coded | None, last_level: int) -> list[ir.Value]:
        """Return a layer's table, then its segments or its depthwise weights, as inputs of the branch."""
        table, *weights = tensor_names(layer, coded)
        kind = self.unit if coded is None else ir.DataType.UINT8
        used = weights if coded is None else weights[: 1 + last_level]
        return [self._input(table, ir.DataType.FLOAT), *[self._input(name, kind) for name in used]]

    def _image(self, result: ir.Value, node: ir.Node) -> None:
        """Let a node make the planes of a value."""
        made = self._insert(node, f"{result.name}.planes", self.unit)
        self._planes[result] = made
        self._images.append((result, made))

    def _window(self, layer: Layer) -> Attributes:
        """Return the geometry of a layer between the layouts of its input and output."""
        g = layer.geometry
        source, result = self.nodes[layer.position].inputs[0], self.nodes[layer.end].outputs[0]
        assert g is not None
        return self._between(g, source, result)

    def _between(self, g: Geometry, source: ir.Value | None, result: ir.Value) -> Attributes:
        assert source is not None
        layouts = self._layout_of[source], self._layout_of[result]
        return Window(*layouts, g.kernel, g.stride, g.dilation, g.pads[:2]).attributes()

    def keep(self, node: ir.Node) -> None:
        """Leave a node, on planes where it can work on them."""
        self._anchor = node
        if node in self.layouts.means:
            self._mean(node)
        elif node in self.layouts.passing:
            inputs = [None if value is None else self._operand(value) for value in node.inputs]
            self._image(node.outputs[0], ir.node(node.op_type, inputs, dict(node.attributes)))
            self._dead.add(node)
        elif node in self.layouts.pools:
            self._pool(node, self.layouts.pools[node])

    def _operand(self, value: ir.Value) -> ir.Value:
        """Return what a node between kernels reads: planes where there are, else the same units, such as a gate."""
        return self._planes[value] if value in self._planes else self._cast(value, self.unit)

    def _cast(self, value: ir.Value, kind: ir.DataType) -> ir.Value:
        if self.unit == ir.DataType.FLOAT:
            return value
        node = ir.node("Cast", [value], {"to": kind.value})
        return self._insert(node, f"{value.name}.as_{kind.name.lower()}_{next(self._numbers)}", kind)

    def _pool(self, node: ir.Node, window: Geometry) -> None:
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        attributes = self._between(window, source, result) | {"in_channels": window.in_channels}
        inputs = [self._planes[source]]
        self._image(result, ir.node(self.family.max_pool, inputs, attributes, domain=DOMAIN))
        self._dead.add(node)

    def _mean(self, node: ir.Node) -> None:
        """Average over planes: borders are zero, so the sum is right and only the count is not."""
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        layout = self._layout_of[source]
        share = np.array(layout.stride / (layout.height * layout.width), np.float32)
        inputs = [self._cast(self._planes[source], ir.DataType.FLOAT), *list(node.inputs)[1:]]
        twin = self._insert(
            ir.node(node.op_type, inputs, dict(node.attributes)), f"{result.name}.over_planes"
        )
        factor = constant(self.graph, f"{result.name}.share", share)
        made = self._insert(ir.node("Mul", [twin, factor]), f"{result.name}.mean")
        self._become(result, made)
        self._dead.add(node)

    def _become(self, result: ir.Value, made: ir.Value) -> None:
        """Let every reader of a value read another of the same contents."""
        if result in self._layout_of:
            self._layout_of[made] = self._layout_of[result]
        result.replace_all_uses_with(made, replace_graph_outputs=True)

    def finish(self) -> None:
        """Turn planes back into images for every consumer that is left."""
        for result, planes in self._images:
            layout = self._layout_of[result]
            alive = any(use.node not in self._dead for use in result.uses())
            if not alive and not result.is_graph_output():
                continue
            producer = planes.producer()
            assert producer is not None
            node = ir.node(self.family.from_planes, [planes], plane_attributes(layout), domain=DOMAIN)
            node.outputs[0].name, node.outputs[0].shape = f"{result.name}.image", result.shape
            node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
            node.name = f"{result.name}.image"
            self.graph.insert_after(producer, node)
            result.replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)


def _channels(layer: Layer) -> Attributes:
    assert layer.geometry is not None
    channels = channel_attributes(layer.geometry.in_channels, len(layer.weight), layer.geometry.groups)
    return channels if layer.kind == "conv" else {"in_channels": channels["in_channels"]}
