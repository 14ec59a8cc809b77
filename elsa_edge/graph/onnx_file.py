"""Any tool's ONNX file -> a graph of the canonical graph's versions, its weights as plain float32 initializers.

Constants become initializers, local functions are inlined, older operators are converted to opset 20. What the levels
could not be proved for is refused: `elsa_edge.graph.onnx_refusals`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import onnx_ir as ir
from onnx import inliner
from onnx_ir.passes import common

from elsa_edge.errors import ExportError, first_line
from elsa_edge.graph.names import IR_VERSION, OPSET
from elsa_edge.graph.onnx_refusals import nodes_of, refuse
from elsa_edge.tensors import BATCH

__all__ = ["read_onnx"]

_OLDEST_OPSET: Final = 7
# What makes a list of tensors out of tensors.
_SEQUENCES: Final = frozenset(
    {
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
    }
)


def read_onnx(path: Path, outputs: Sequence[str] = ()) -> ir.Model:
    """Read an ONNX file, with its external data, as opset 20.

    Args:
        path: The file.
        outputs: Keep only these outputs or inner tensors; what only others need is cut off. Empty keeps all.

    Raises:
        ExportError: When it is missing, is not ONNX, or holds something that no level can be proved for.
    """
    if not path.is_file():
        raise ExportError(f"There is no model at {path}")
    try:
        proto = onnx.load_model(str(path))
    except Exception as error:  # protobuf and the reader of external data raise unrelated classes
        raise ExportError(f"{path} is not a readable ONNX model ({first_line(error)})") from error
    if proto.functions:
        proto = inliner.inline_local_functions(proto)  # before the conversion of versions, which forgets them
    if outputs:
        _keep_outputs(proto, outputs, path)
    refuse(proto, path)
    _forget_shapes(proto)
    _name_free_sizes(proto)
    model = ir.from_proto(_at_opset(proto, path))
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _drop_initializer_inputs(model.graph)
    _fill_names(model.graph)
    _say_sequences(model.graph)
    model.ir_version = IR_VERSION
    return model


def _keep_outputs(proto: onnx.ModelProto, wanted: Sequence[str], path: Path) -> None:
    """Make tensors the outputs of a graph, and drop the nodes that no output needs; in place."""
    graph = proto.graph
    makers = {name: node for node in graph.node for name in node.output if name}
    declared = {value.name: value for value in graph.output}
    for name in wanted:
        if name not in makers:
            raise ExportError(
                f"{path} has no tensor {name!r} to end at", allowed=[*declared, *list(makers)[-8:]]
            )
    kept, queue = set(), list(wanted)
    while queue:
        node = makers.get(queue.pop())
        if node is not None and id(node) not in kept:
            kept.add(id(node))
            queue += [*node.input, *_captured(node)]
    nodes = [node for node in graph.node if id(node) in kept]
    ends = [declared.get(name) or onnx.ValueInfoProto(name=name) for name in wanted]
    for value in ends:
        if not value.HasField("type"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    nodes, ends = [_copy(node) for node in nodes], [_copy(value) for value in ends]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.extend(ends)


def _captured(node: Any) -> list[str]:
    """Return the names that the branches and bodies of a node use."""
    return [
        name
        for attribute in node.attribute
        for graph in [attribute.g, *attribute.graphs]
        for inner in nodes_of(graph)
        for name in inner.input
    ]


def _copy(message: Any) -> Any:
    made = type(message)()
    made.CopyFrom(message)
    return made


def _forget_shapes(proto: onnx.ModelProto) -> None:
    """Drop what the file says about inner shapes: it is inferred anew, and some tools write it wrongly (-1).

    Outputs follow their inputs: beside a free size of an input, some tools leave their example's at the output.
    """
    del proto.graph.value_info[:]
    free = any(
        not size.HasField("dim_value") or size.dim_value < 1
        for value in proto.graph.input
        for size in value.type.tensor_type.shape.dim
    )
    for value in proto.graph.output:
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_value") and (free or size.dim_value < 0):
                size.Clear()


def _name_free_sizes(proto: onnx.ModelProto) -> None:
    """Name every free size, also those that tools write as -1 or 0; a free first one is the batch."""
    batches: set[str] = set()
    others: set[str] = set()
    for value in proto.graph.input:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.HasField("dim_value") and size.dim_value >= 1:
                continue
            if not size.dim_param:
                size.dim_param = BATCH if axis == 0 else f"{value.name}_{axis}"
            (others if axis else batches).add(size.dim_param)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in batches - others:
                size.dim_param = BATCH


def _at_opset(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    from onnx import version_converter

    versions = {entry.domain: entry.version for entry in proto.opset_import}
    found = versions.get("", versions.get("ai.onnx", 0))
    if found == OPSET:
        return proto
    if found < _OLDEST_OPSET:
        raise ExportError(f"{path} is of opset {found}", expected=f"opset {_OLDEST_OPSET} or newer")
    if found > OPSET:
        with contextlib.suppress(Exception):  # the converter goes down only where no operator has changed
            return version_converter.convert_version(proto, OPSET)
        if not _changed_since(proto):
            for entry in proto.opset_import:
                if entry.domain in ("", "ai.onnx"):
                    entry.version = OPSET
            return proto
        raise ExportError(
            f"{path} is of opset {found}", expected=f"opset {OPSET} or older", fix="Export it again"
        )
    try:
        return version_converter.convert_version(proto, OPSET)
    except Exception as error:
        raise ExportError(
            f"{path} cannot be converted from opset {found} to {OPSET} ({first_line(error)})",
            fix=f"Export it again with opset {OPSET}",
        ) from error


def _changed_since(proto: onnx.ModelProto) -> list[str]:
    """Return the operators of a newer file whose definition differs from the one in our opset."""
    changed = []
    version = max(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    for node in nodes_of(proto.graph):
        try:
            ours = onnx.defs.get_schema(node.op_type, OPSET).since_version
            theirs = onnx.defs.get_schema(node.op_type, version).since_version
        except Exception:  # noqa: BLE001 - onnx raises its own class for an operator that did not exist
            changed.append(node.op_type)
            continue
        # Later definitions that only add number types compute the same on the types that ours has.
        if ours != theirs and node.op_type not in _ONLY_NEW_TYPES:
            changed.append(node.op_type)
    return changed


_ONLY_NEW_TYPES: Final = frozenset(
    {
        "Cast",
        "CastLike",
        "Constant",
        "ConstantOfShape",
        "Flatten",
        "Identity",
        "If",
        "Loop",
        "Pad",
        "Reshape",
        "Scan",
        "Shape",
        "Size",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


def _drop_initializer_inputs(graph: ir.Graph) -> None:
    """Initializers that older files list among the inputs, as defaults that a caller may replace, become constants."""
    graph.inputs[:] = [value for value in graph.inputs if value.name not in graph.initializers]


def _fill_names(graph: ir.Graph) -> None:
    for number, node in enumerate(graph):
        if not node.name:
            node.name = f"{node.op_type}_{number}"


def _say_sequences(graph: ir.Graph) -> None:
    """Give lists of tensors their type, which the inference of shapes would take for a tensor's; in place."""
    for node in graph.all_nodes():
        if node.op_type in _SEQUENCES and node.domain in ("", "ai.onnx"):
            for value in node.outputs:
                value.type = ir.SequenceType(ir.TensorType(ir.DataType.FLOAT))
