"""Give the float nodes of a branch the 8 bits that ONNX Runtime's quantiser gave them in the whole dense network.

    ours     ImageFromInt8 -> Conv            -> Relu -> Int8FromImage
    dense    ... Q -> DQ   -> Conv            -> Q -> DQ ...                (a ReLU lies in the range of the codes)
    made     ImageFromInt8 -> Q -> DQ -> Conv -> Q -> DQ -> Int8FromImage

requires  nodes of both have the same names: both come from the same network
ensures   a node of the branch that is dense in 8 bits there is so here, with the same codes, steps and points; nodes
          that the dense network does not have (our kernels) are as they were
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import onnx_ir as ir
from onnx_ir.passes import common

__all__ = ["coding_nodes", "quantise_like"]

_CODING: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_BOUNDING: Final = frozenset({"Relu", "Clip"})
# What the quantiser appends to the name of an output of the network that it puts behind codes.
_BEHIND_CODES: Final = "_QuantizeLinear_Input"


def quantise_like(model: ir.Model, dense: ir.Model, stay_float: Collection[str] = ()) -> None:
    """Put codes around the nodes of `model` that have them in `dense`.

    Args:
        model: A branch with some layers as 8-bit kernels and the others in float; it is modified.
        dense: The dense 8-bit network of a level, as the quantiser wrote it.
        stay_float: Names of nodes that stay in float.
    """
    grafting = _Grafting(model.graph, dense.graph, stay_float)
    for node in list(model.graph):
        grafting.bypass(node)
    for node in list(model.graph):
        grafting.inputs(node)
    for node in list(model.graph):
        grafting.outputs(node)
    common.RemoveUnusedNodesPass()(model)


def coding_nodes(dense: ir.Model) -> list[ir.Node]:
    """Return the nodes of a dense 8-bit network that read decoded codes: those that runtimes compute in 8 bits."""
    return [
        node
        for node in dense.graph
        if node.op_type not in _CODING and node.inputs and _is_decoder(node.inputs[0])
    ]


def _is_decoder(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


class _Grafting:
    """Knows both graphs, and which values have codes already."""

    def __init__(self, graph: ir.Graph, dense: ir.Graph, stay_float: Collection[str]) -> None:
        self._graph = graph
        self._twins = {
            node.name: node for node in dense if node.op_type not in _CODING and node.name not in stay_float
        }
        self._coders = {
            str(node.inputs[0].name).removesuffix(_BEHIND_CODES): node
            for node in dense
            if node.op_type == "QuantizeLinear" and node.inputs[0] is not None
        }
        self._decoded: dict[ir.Value, ir.Value] = {}  # value -> the same behind codes
        self._constants: dict[str, ir.Value] = {}

    def bypass(self, node: ir.Node) -> None:
        """Take out an activation that the quantiser put into the range of what it bounds."""
        source = node.inputs[0] if node.inputs else None
        producer = None if source is None else source.producer()
        if node.op_type not in _BOUNDING or node.name in self._twins or producer is None or source is None:
            return
        twin = self._twins.get(producer.name)
        result = node.outputs[0]
        if twin is None or str(twin.outputs[0].name).removesuffix(_BEHIND_CODES) != result.name:
            return
        name, result.name = result.name, None
        result.replace_all_uses_with(source, replace_graph_outputs=True)
        self._graph.remove(node, safe=True)
        source.name = name

    def inputs(self, node: ir.Node) -> None:
        """Let a node read codes where its twin does."""
        twin = self._twins.get(node.name)
        if twin is None or twin.op_type != node.op_type:
            return
        for place, (value, there) in enumerate(zip(node.inputs, twin.inputs, strict=False)):
            decoder = None if there is None else there.producer()
            if value is None or decoder is None or decoder.op_type != "DequantizeLinear":
                continue
            codes = decoder.inputs[0]
            coder = None if codes is None else codes.producer()
            if coder is not None:
                node.replace_input_with(place, self._behind_codes(value, coder))
            else:
                node.replace_input_with(place, self._constant_behind_codes(decoder, node))

    def outputs(self, node: ir.Node) -> None:
        """Let everybody read the codes of what a dense node makes, our kernels too: only then is it one kernel."""
        if node.name not in self._twins:
            return
        for value in node.outputs:
            coder = self._coders.get(str(value.name))
            if coder is None:
                continue
            decoded = self._behind_codes(value, coder)
            own = decoded.producer()
            first = None if own is None or own.inputs[0] is None else own.inputs[0].producer()
            for use in list(value.uses()):
                if use.node is not first:
                    use.node.replace_input_with(use.idx, decoded)
            for place, output in enumerate(list(self._graph.outputs)):
                if output is value:
                    self._graph.outputs[place] = decoded

    def _behind_codes(self, value: ir.Value, coder: ir.Node) -> ir.Value:
        """Return a value after coding and decoding, made once."""
        if value not in self._decoded:
            points = [self._constant(like) for like in coder.inputs[1:] if like is not None]
            made = ir.Node("", "QuantizeLinear", [value, *points], _attributes(coder))
            back = ir.Node("", "DequantizeLinear", [made.outputs[0], *points], _attributes(coder))
            for one, end in ((made, "quantised"), (back, "dequantised")):
                one.name = one.outputs[0].name = f"{value.name}.{end}"
            back.outputs[0].type, back.outputs[0].shape = value.type, value.shape
            self._put([made, back], value)
            self._decoded[value] = back.outputs[0]
        return self._decoded[value]

    def _constant_behind_codes(self, decoder: ir.Node, reader: ir.Node) -> ir.Value:
        """Return a weight or a bias as codes that are decoded: each reader has its own decoder, as runtimes want it."""
        points = [None if like is None else self._constant(like) for like in decoder.inputs]
        made = ir.Node("", "DequantizeLinear", points, _attributes(decoder))
        made.name = made.outputs[0].name = f"{reader.name}.{decoder.outputs[0].name}"
        made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        self._graph.insert_before(reader, made)
        return made.outputs[0]

    def _constant(self, like: ir.Value) -> ir.Value:
        """Return a copy of a constant of the dense network."""
        name = f"{like.name}.dense"
        if name not in self._constants:
            assert like.const_value is not None
            copy = ir.Value(name=name, type=like.type, shape=like.shape, const_value=like.const_value)
            self._graph.initializers.add(copy)
            self._constants[name] = copy
        return self._constants[name]

    def _put(self, nodes: list[ir.Node], value: ir.Value) -> None:
        """Put nodes right behind what makes a value, or in front of all where it is an input."""
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], nodes)
        else:
            self._graph.insert_after(producer, nodes)


def _attributes(node: ir.Node) -> list[ir.Attr]:
    return list(node.attributes.values())
