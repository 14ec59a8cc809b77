"""Write one branch: the network of some levels, with chosen layers as 8-bit kernels.

    Int8FromImage -> Int8Conv | Int8Depthwise | Int8MaxPool ... -> Int8Mean | ImageFromInt8
    Int8Rows -> Int8MatMul ... -> Int8MatMulFloat

Codes, tables and the level are inputs of the branch here; joining the branches connects them to the outer graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.exporters.int8.code import ACTIVATED, Coded8
from elsa_edge.exporters.int8.lay_out import Codes
from elsa_edge.exporters.nested.cells import cell_node
from elsa_edge.exporters.nested.layer import Geometry, Layer
from elsa_edge.graph.constants import constant
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.passes.flush_subnormals import FlushSubnormals
from elsa_edge.graph.passes.fold_batch_norm import FoldBatchNorm
from elsa_edge.nested_format.activations import ActivationKind
from elsa_edge.nested_format.operators import DOMAIN, Window, plane_attributes
from elsa_edge.quantise.steps import Steps

__all__ = ["branch8", "layer_tensors", "state_name", "steps_name", "steps_table"]

Array = npt.NDArray[Any]


def steps_name(value: ir.Value) -> str:
    """Return the name of the outer tensor that holds a value's steps."""
    return f"{value.name}.steps"


def steps_table(steps: Sequence[Steps]) -> Array:
    """Return steps as kernels read them: (levels, 2)."""
    return np.array([[s.step, s.zero] for s in steps], np.float32)


def state_name(layer: Layer) -> str:
    """Return the name of the outer tensor that holds the steps of a recurrent layer's state."""
    return f"{layer.name}.state"


def layer_tensors(layer: Layer, coded: Coded8) -> dict[str, Array]:
    """Return a product's outer tensors by name, in the order of a kernel's inputs."""
    named = {f"{layer.name}.finish": coded.tables.finish, f"{layer.name}.points": coded.tables.points}
    return named | {f"{layer.name}.codes_{k}": array for k, array in enumerate(coded.weights)}


def branch8(
    model: ir.Model,
    layers: Mapping[int, Layer],
    coded: Mapping[int, Coded8],
    codes: Codes,
    last_level: int,
) -> ir.Model:
    """Return the network of `model` with `layers` as 8-bit kernels.

    Args:
        model: The plain network of the densest level that the branch serves. Its nodes are those that `codes` was made
            for; it is modified.
        layers: Position -> layer.
        coded: Position -> its arrays.
        codes: The forms of values.
        last_level: The densest level; segments of higher levels are left out.
    """
    graph = model.graph
    nodes = list(graph)
    writer = _Writer(graph, nodes, codes)
    ends = {layer.end: layer for layer in layers.values()}
    covered = {p for layer in layers.values() for p in (layer.position, *layer.absorbed)}
    for position, node in enumerate(nodes):
        if position in ends:
            layer = ends[position]
            writer.replace(layer, coded[layer.position], last_level)
        elif position not in covered:
            writer.keep(node)
    writer.finish()
    common.RemoveUnusedNodesPass()(model)
    graph.opset_imports[DOMAIN] = 1
    FoldBatchNorm()(model)
    FlushSubnormals()(model)
    common.RemoveUnusedNodesPass()(model)
    return model


class _Writer:
    """Rewrites the graph node by node; knows which values exist as codes."""

    def __init__(self, graph: ir.Graph, nodes: list[ir.Node], codes: Codes) -> None:
        self.graph, self.nodes, self.codes = graph, nodes, codes
        self.level = self._input(LEVEL_INPUT, ir.DataType.INT64)
        self._made: dict[ir.Value, ir.Value] = {}  # original value -> the same in codes
        self._images: list[tuple[ir.Value, ir.Value]] = []  # (original value, its planes), made as planes
        self._named: dict[ir.Value, ir.Value] = {}  # value put in the place of another -> that other
        self._dead: set[ir.Node] = set()  # nodes that something else computes now
        self._anchor: ir.Node | None = None

    def replace(self, layer: Layer, coded: Coded8, last_level: int) -> None:
        """Put a kernel in the place of a layer."""
        self._anchor = self.nodes[layer.end]
        self._dead.update(self.nodes[p] for p in (layer.position, *layer.absorbed))
        source, result = self.nodes[layer.position].inputs[0], self.nodes[layer.end].outputs[0]
        assert source is not None
        if layer.cell is not None:
            self._recurrent(layer, coded, last_level, source)
            return
        tables, arrays = self._tensors(layer, coded, last_level)
        if layer.geometry is None:
            self._product(layer, coded, source, result, [*tables, *arrays])
            return
        residual = None
        if layer.residual is not None:
            other = self.nodes[layer.residual[0]].inputs[layer.residual[1]]
            assert other is not None
            residual = self._planes_of(other)
        attributes = self._window(layer.geometry, source, result)
        attributes["in_quads"] = -(-layer.geometry.in_channels // 4)
        attributes["activation"] = int(layer.activation.kind) if layer.activation.kind in ACTIVATED else 0
        operator = "Int8Depthwise"
        if layer.kind != "depthwise":
            operator = "Int8Conv"
            attributes["out_channels"] = len(layer.weight)
        inputs = [self._planes_of(source), self.level, *tables, residual, *arrays]
        self._image(result, ir.node(operator, inputs, attributes, domain=DOMAIN))

    def _tensors(self, layer: Layer, coded: Coded8, last_level: int) -> tuple[list[ir.Value], list[ir.Value]]:
        """Return a product's tables, and its segments or depthwise codes, as inputs of the branch."""
        finish, points, *weights = layer_tensors(layer, coded)
        used = weights if layer.kind == "depthwise" else weights[: 1 + last_level]
        tables = [self._input(name, ir.DataType.FLOAT) for name in (finish, points)]
        return tables, [self._input(name, ir.DataType.UINT8) for name in used]

    def _recurrent(self, layer: Layer, coded: Coded8, last_level: int, source: ir.Value) -> None:
        """Insert the product of all steps and the cells."""
        node = self.nodes[layer.position]
        assert layer.before is not None
        assert coded.before is not None
        tables, arrays = self._tensors(layer.before, coded.before, last_level)
        gates = self._float_product(layer.before, source, [*tables, *arrays], f"{layer.name}.gates")
        tables, arrays = self._tensors(layer, coded, last_level)
        state = self._input(state_name(layer), ir.DataType.FLOAT)
        cells = cell_node(node, layer, [gates, self.level, *tables, state], arrays, int8=True)
        assert self._anchor is not None
        self.graph.insert_before(self._anchor, cells)
        for result, made in zip(node.outputs, cells.outputs, strict=True):
            if made.name:
                self._become(result, made)

    def _product(
        self, layer: Layer, coded: Coded8, source: ir.Value, result: ir.Value, tensors: Sequence[ir.Value]
    ) -> None:
        if coded.is_float:
            self._become(result, self._float_product(layer, source, tensors, f"{result.name}.floats"))
            return
        inputs = [self._rows_of(source), self.level, *tensors]
        node = ir.node("Int8MatMul", inputs, _shape_of(layer), domain=DOMAIN)
        self._made[result] = self._insert(node, f"{result.name}.codes", ir.DataType.UINT8)

    def _float_product(
        self, layer: Layer, source: ir.Value, tensors: Sequence[ir.Value], name: str
    ) -> ir.Value:
        """Insert a product that ends in float32."""
        attributes = _shape_of(layer)
        bounded = layer.activation.kind == ActivationKind.CLIP
        attributes["low"] = layer.activation.low if bounded else -float("inf")
        attributes["high"] = layer.activation.high if bounded else float("inf")
        inputs = [self._rows_of(source), self.level, *tensors]
        node = ir.node("Int8MatMulFloat", inputs, attributes, domain=DOMAIN)
        return self._insert(node, name, ir.DataType.FLOAT)

    def keep(self, node: ir.Node) -> None:
        """Leave a node, on codes where it can work on them."""
        self._anchor = node
        source = node.inputs[0] if node.inputs else None
        if source is None:
            return
        if node in self.codes.gates:
            self._gate(node, self.codes.gates[node])
        elif node in self.codes.together:
            self._dead.add(node)
            inputs = [self._made[value] for value in node.inputs if value is not None]
            self._image(node.outputs[0], ir.node("Concat", inputs, {"axis": 1}))
        elif node in self.codes.larger:
            self._upsample(node, source)
        elif node in self.codes.pools:
            window, result = self.codes.pools[node], node.outputs[0]
            attributes = self._window(window, source, result) | {"in_quads": -(-window.in_channels // 4)}
            inputs = [self._made[source], self.level, self._steps(source)]
            self._dead.add(node)
            self._image(result, ir.node("Int8MaxPool", inputs, attributes, domain=DOMAIN))
        elif node in self.codes.means:
            self._dead.add(node)
            self._mean(node, source)

    def _gate(self, node: ir.Node, number: int) -> None:
        planes, gates, result = node.inputs[number], node.inputs[1 - number], node.outputs[0]
        assert planes is not None
        assert planes.shape is not None
        attributes: dict[str, Any] = plane_attributes(self.codes.planes[result]) | {
            "channels": planes.shape[1]
        }
        inputs = [self._made[planes], self.level, self._steps(planes), gates, self._steps(result)]
        self._dead.add(node)
        self._image(result, ir.node("Int8Gate", inputs, attributes, domain=DOMAIN))

    def _upsample(self, node: ir.Node, source: ir.Value) -> None:
        result = node.outputs[0]
        assert source.shape is not None
        channels = source.shape[1]
        assert isinstance(channels, int)
        down, right = self.codes.larger[node]
        attributes: dict[str, Any] = {"in_quads": -(-channels // 4), "scale_h": down, "scale_w": right}
        for side, value in (("in", source), ("out", result)):
            named = plane_attributes(self.codes.planes[value])
            attributes |= {f"{side}_{name}": number for name, number in named.items()}
        inputs = [self._made[source], self.level, self._steps(source)]
        self._dead.add(node)
        self._image(result, ir.node("Int8Upsample", inputs, attributes, domain=DOMAIN))

    def _mean(self, node: ir.Node, source: ir.Value) -> None:
        layout = self.codes.planes[source]
        assert source.shape is not None
        attributes: dict[str, Any] = plane_attributes(layout) | {"channels": source.shape[1]}
        inputs = [self._made[source], self.level, self._steps(source)]
        result = node.outputs[0]
        made = self._insert(
            ir.node("Int8Mean", inputs, attributes, domain=DOMAIN), f"{result.name}.mean", ir.DataType.FLOAT
        )
        kept = node.attributes.get("keepdims")
        if node.op_type == "ReduceMean" and kept is not None and kept.as_int() == 0:
            axes = constant(self.graph, f"{result.name}.axes", np.array([2, 3]))
            made = self._insert(ir.node("Squeeze", [made, axes]), f"{result.name}.flat", ir.DataType.FLOAT)
        self._become(result, made)

    def _become(self, result: ir.Value, made: ir.Value) -> None:
        """Let every reader of a float value read another of the same contents."""
        made.shape = result.shape
        self._named[made] = result
        result.replace_all_uses_with(made, replace_graph_outputs=True)

    def finish(self) -> None:
        """Turn planes back into images for every consumer that is left."""
        for result, planes in self._images:
            alive = any(use.node not in self._dead for use in result.uses())
            if not alive and not result.is_graph_output():
                continue
            producer = planes.producer()
            assert producer is not None
            assert result.shape is not None
            attributes: dict[str, Any] = plane_attributes(self.codes.planes[result]) | {
                "channels": result.shape[1]
            }
            node = ir.node(
                "ImageFromInt8", [planes, self.level, self._steps(result)], attributes, domain=DOMAIN
            )
            node.outputs[0].name, node.outputs[0].shape = f"{result.name}.image", result.shape
            node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
            node.name = f"{result.name}.image"
            self.graph.insert_after(producer, node)
            result.replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)

    def _planes_of(self, value: ir.Value) -> ir.Value:
        """Return a value as planes of codes, converting it once where it is an image."""
        if value not in self._made:
            node = ir.node(
                "Int8FromImage",
                [value, self.level, self._steps(value)],
                plane_attributes(self.codes.planes[self._named.get(value, value)]),
                domain=DOMAIN,
            )
            self._made[value] = self._insert(node, f"{value.name}.codes", ir.DataType.UINT8)
        return self._made[value]

    def _rows_of(self, value: ir.Value) -> ir.Value:
        if value not in self._made:
            node = ir.node("Int8Rows", [value, self.level, self._steps(value)], domain=DOMAIN)
            self._made[value] = self._insert(node, f"{value.name}.codes", ir.DataType.UINT8)
        return self._made[value]

    def _steps(self, value: ir.Value) -> ir.Value:
        value = self.codes.root(self._named.get(value, value))
        return self._input(steps_name(value), ir.DataType.FLOAT)

    def _input(self, name: str, dtype: ir.DataType) -> ir.Value:
        for value in self.graph.inputs:
            if value.name == name:
                return value
        shape = ir.Shape([]) if dtype == ir.DataType.INT64 else None
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=shape)
        self.graph.inputs.append(value)
        return value

    def _insert(self, node: ir.Node, name: str, dtype: ir.DataType) -> ir.Value:
        """Put a node before the one being worked on."""
        assert self._anchor is not None
        node.outputs[0].name = node.name = name
        node.outputs[0].type = ir.TensorType(dtype)
        self.graph.insert_before(self._anchor, node)
        return node.outputs[0]

    def _image(self, result: ir.Value, node: ir.Node) -> None:
        """Let a node make the planes of a value."""
        made = self._insert(node, f"{result.name}.codes", ir.DataType.UINT8)
        self._made[result] = made
        self._images.append((result, made))

    def _window(self, g: Geometry, source: ir.Value, result: ir.Value) -> dict[str, Any]:
        """Return the geometry of a layer between the layouts of its input and output."""
        source = self._named.get(source, source)
        window = Window(
            self.codes.planes[source],
            self.codes.planes[result],
            g.kernel,
            g.stride,
            g.dilation,
            g.pads[:2],
        )
        return dict(window.attributes())


def _shape_of(layer: Layer) -> dict[str, Any]:
    """Return the attributes of a product's size."""
    rows, columns = layer.weight.shape
    return {"rows": rows, "quads": -(-columns // 4)}
