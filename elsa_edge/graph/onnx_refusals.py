"""What an ONNX file may not hold, for no level of it could be proved: each is refused with the node and the way out.

Quantised files, training graphs and nodes, operators of other domains, operators that draw at random, inputs and
outputs that are no tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import numpy_helper

from elsa_edge.errors import ExportError
from elsa_edge.graph.names import FORMAT_KEY, LEVEL_INPUT

__all__ = ["nodes_of", "refuse"]

_QUANTISED: Final = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "DynamicQuantizeLinear",
    }
)
_RANDOM: Final = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_OWN_DOMAINS: Final = ("", "ai.onnx")
_FOR_INFERENCE: Final = "Export the network for inference (torch: model.eval(), training=TrainingMode.EVAL)"


def refuse(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse a file that cannot take levels.

    Raises:
        ExportError: Naming the first reason, its node and what to do.
    """
    if FORMAT_KEY in {entry.key for entry in proto.metadata_props}:
        raise ExportError(f"{path} has levels already", fix="Use it with `elsa-edge build`")
    if proto.training_info:
        raise ExportError(f"{path} is a training graph", fix="Export the network for inference")
    functions = {function.name for function in proto.functions}
    constants = _constants(proto.graph)
    for node in nodes_of(proto.graph):
        _refuse_node(node, path, functions, constants)
    for value in [*proto.graph.input, *proto.graph.output]:
        if not value.type.HasField("tensor_type"):
            raise ExportError(
                f"{value.name} of {path} is no tensor",
                found=value.type.WhichOneof("value"),
                fix="Cut the network at tensors with --outputs NAME (for scikit-learn: export with zipmap=False)",
            )
        if value.name == LEVEL_INPUT:
            raise ExportError(
                f"{path} has a tensor named {LEVEL_INPUT!r}, which is reserved", fix="Rename it"
            )


def _refuse_node(node: Any, path: Path, functions: set[str], constants: dict[str, Any]) -> None:
    label = node.name or node.op_type
    if node.domain not in _OWN_DOMAINS:
        if node.op_type not in functions:
            raise ExportError(
                f"{path} has an operator of another domain, {node.domain}::{node.op_type} in {node.name or 'a node'}",
                fix="Export the network with standard ONNX operators, or cut it off before: --outputs NAME of a tensor",
            )
        return
    if node.op_type in _QUANTISED:
        raise ExportError(
            f"{path} is quantised: its node {label} is a {node.op_type}",
            expected="float32 weights",
            fix="Give the float32 network; `elsa-edge build` makes the int8 variants itself",
        )
    if node.op_type in _RANDOM:
        raise ExportError(
            f"{path} draws at random: its node {label} is a {node.op_type}",
            expected="the same answer to the same inputs, or nothing can be compared",
            fix="Make what it draws an input, or cut it off: --outputs NAME of a tensor",
        )
    if _trains(node, constants):
        raise ExportError(
            f"{path} was exported for training: its node {label} is a {node.op_type} in training mode",
            fix=_FOR_INFERENCE,
        )


def _trains(node: Any, constants: dict[str, Any]) -> bool:
    """Tell whether a node computes as in training: from the statistics of its batch, or with random zeros."""
    if node.op_type == "BatchNormalization":
        return any(entry.name == "training_mode" and entry.i for entry in node.attribute)
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        mode = constants.get(node.input[2])
        return mode is None or bool(numpy_helper.to_array(mode).any())
    return False


def _constants(graph: Any) -> dict[str, Any]:
    """Return initializers and the results of Constant nodes of the main graph by name."""
    made = {
        node.output[0]: entry.t
        for node in graph.node
        if node.op_type == "Constant"
        for entry in node.attribute
        if entry.name == "value"
    }
    return made | {tensor.name: tensor for tensor in graph.initializer}


def nodes_of(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of all branches and bodies in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from nodes_of(inner)
