"""Outputs that are copies: of another output, of an input, or of a constant.

    y, y2 = y            y, x2 = x            y, anchors = const

The converter loses such outputs or hands them out without data, so it does not meet them: they are appended to its
file, values as a RESHAPE to the same shape, which copies; numbers as SELECT_V2(true, numbers, numbers), because LiteRT
keeps a reshaped constant where no buffer of a caller can receive it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir

from elsa_edge.exporters.tflite.model import NUMPY_TYPES, TfliteModel, schema

__all__ = ["INPUT", "OUTPUT", "append_copy", "copied_outputs", "without_copies"]

# The converter meets only these names: users' names may hold anything, and torch's own are output_0 and the like.
INPUT: Final = "elsa_edge_input_"
OUTPUT: Final = "elsa_edge_output_"

_TYPES: Final = {name: number for number, name in NUMPY_TYPES.items()}

Array = np.ndarray[Any, Any]


def copied_outputs(model: ir.Model) -> dict[int, str | Array]:
    """Return the place of each output that is a copy, with its numbers or the name of what it is a copy of.

    Args:
        model: Its inputs have the names that the converter meets; outputs will be called `OUTPUT` and their place.
    """
    inputs = {value: str(value.name) for value in model.graph.inputs}
    found: dict[int, str | Array] = {}
    computed: dict[ir.Value, int] = {}
    for place, value in enumerate(model.graph.outputs):
        root = _root(value)
        tensor = ir.convenience.get_const_tensor(root)
        if root in inputs:
            found[place] = inputs[root]
        elif tensor is not None:
            found[place] = tensor.numpy()
        elif root in computed:
            found[place] = f"{OUTPUT}{computed[root]}"
        else:
            computed[root] = place
    return found


def _root(value: ir.Value) -> ir.Value:
    """Return the value that others merely hand on."""
    producer = value.producer()
    while producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        value = producer.inputs[0]
        producer = value.producer()
    return value


def without_copies(proto: onnx.ModelProto, copies: Mapping[int, str | Array]) -> onnx.ModelProto:
    """Return the graph for the converter: without the outputs that are copies and the nodes that only make these."""
    names = {f"{OUTPUT}{place}" for place in copies}
    for field in (proto.graph.output, proto.graph.value_info):
        kept = [value for value in field if value.name not in names]
        del field[:]
        field.extend(kept)
    nodes = [node for node in proto.graph.node if not names.intersection(node.output)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def append_copy(model: TfliteModel, source: int | Array, name: str) -> int:
    """Append a copy of a tensor, or of constant numbers, and return its index."""
    classes, graph = schema(), model.graph
    if isinstance(source, int):
        sizes = np.array(model.shape(graph.tensors[source]), np.int32)
        code, inputs = "RESHAPE", [source, _constant(model, sizes, f"{name}_shape")]
        options = classes.ReshapeOptionsT(newShape=sizes)
    else:
        always = _constant(model, np.ones(source.shape, bool), f"{name}_always")
        source = _constant(model, source, f"{name}_numbers")
        code, inputs = "SELECT_V2", [always, source, source]
        options = classes.SelectV2OptionsT()
    like = graph.tensors[source]
    graph.tensors.append(classes.TensorT(shape=like.shape, type=like.type, name=name.encode()))
    graph.operators.append(
        classes.OperatorT(
            opcodeIndex=model.operator_code(code),
            inputs=inputs,
            outputs=[len(graph.tensors) - 1],
            builtinOptionsType=getattr(classes.BuiltinOptions, type(options).__name__.removesuffix("T")),
            builtinOptions=options,
        )
    )
    return len(graph.tensors) - 1


def _constant(model: TfliteModel, numbers: Array, name: str) -> int:
    classes, graph = schema(), model.graph
    graph.tensors.append(
        classes.TensorT(
            shape=np.array(numbers.shape, np.int32),
            type=_TYPES[numbers.dtype.name],
            buffer=model.add_buffer(numbers),
            name=name.encode(),
        )
    )
    return len(graph.tensors) - 1
