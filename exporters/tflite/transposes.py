"""Take out transposes that are not needed.

    TRANSPOSE(p) -> f -> TRANSPOSE(inverse of p)    becomes    f        for f of one input, number by number
    TRANSPOSE that moves only axes of size one      becomes    RESHAPE

Requires: nothing else reads f's result. Ensures: the same numbers. The converter leaves such a pair where a layer's
result is read both before and after its activation (a shortcut, say); it costs time and keeps XNNPACK from its sparse
kernels. A TRANSPOSE behind the mean over pixels is worse: the sparse path of ai-edge-litert 2.3.0 then computes
something else, silently.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from elsa_edge.exporters.tflite.model import TfliteModel, schema

__all__ = ["cancel_transposes", "reshape_trivial", "transposes_images"]

_UNARY: Final = frozenset(
    {
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "LOGISTIC",
        "TANH",
        "HARD_SWISH",
        "LEAKY_RELU",
        "ELU",
        "GELU",
        "ABS",
        "NEG",
        "FLOOR",
        "CEIL",
        "ROUND",
        "EXP",
        "SQRT",
        "RSQRT",
        "SQUARE",
        "SIN",
        "COS",
        "LOG",
    }
)


def _permutation(model: TfliteModel, operator: Any) -> tuple[int, ...] | None:
    if model.operator_name(operator) != "TRANSPOSE":
        return None
    numbers = model.constant(model.graph.tensors[int(operator.inputs[1])])
    return None if numbers is None else tuple(int(axis) for axis in numbers)


def _readers(graph: Any, index: int) -> list[Any]:
    return [operator for operator in graph.operators if index in {int(item) for item in operator.inputs}]


def _drop_dead(model: TfliteModel) -> None:
    """Remove transposes whose result nobody reads any more."""
    graph = model.graph
    wanted = {int(index) for index in graph.outputs}
    for operator in list(graph.operators):
        result = int(operator.outputs[0])
        if _permutation(model, operator) is not None and result not in wanted and not _readers(graph, result):
            graph.operators.remove(operator)


def cancel_transposes(model: TfliteModel) -> int:
    """Rewrite the first subgraph in place; return how many pairs were taken out."""
    graph = model.graph
    outputs = {int(index) for index in graph.outputs}
    count = 0
    for operator in list(graph.operators):
        if model.operator_name(operator) not in _UNARY:
            continue
        source, result = int(operator.inputs[0]), int(operator.outputs[0])
        before = next((item for item in graph.operators if int(item.outputs[0]) == source), None)
        order = _permutation(model, before) if before is not None else None
        after = _readers(graph, result)
        if order is None or before is None or not after or result in outputs:
            continue
        inverse = tuple(int(axis) for axis in np.argsort(order))
        if any(_permutation(model, user) != inverse or int(user.outputs[0]) in outputs for user in after):
            continue
        operator.inputs = [int(before.inputs[0]), *(int(index) for index in operator.inputs[1:])]
        graph.tensors[result].shape = graph.tensors[int(before.inputs[0])].shape
        graph.tensors[result].shapeSignature = None
        for user in after:
            for reader in _readers(graph, int(user.outputs[0])):
                reader.inputs = [
                    result if int(index) == int(user.outputs[0]) else int(index) for index in reader.inputs
                ]
            graph.operators.remove(user)
        count += 1
    _drop_dead(model)
    return count


def _order_of_large_axes(shape: tuple[int, ...], order: tuple[int, ...]) -> list[int]:
    return [axis for axis in order if shape[axis] != 1]


def reshape_trivial(model: TfliteModel) -> None:
    """Turn transposes that leave the numbers where they lie into reshapes, in place."""
    classes, graph = schema(), model.graph
    for operator in graph.operators:
        order = _permutation(model, operator)
        if order is None:
            continue
        shape = model.shape(graph.tensors[int(operator.inputs[0])])
        moved = _order_of_large_axes(shape, order)
        if moved != sorted(moved):
            continue
        target = np.array([shape[axis] for axis in order], np.int32)
        graph.tensors.append(
            classes.TensorT(
                shape=np.array([target.size], np.int32),
                type=classes.TensorType.INT32,
                buffer=model.add_buffer(target),
                name=graph.tensors[int(operator.outputs[0])].name + b"_shape",
            )
        )
        operator.opcodeIndex = model.operator_code("RESHAPE")
        operator.inputs = [int(operator.inputs[0]), len(graph.tensors) - 1]
        operator.builtinOptionsType = classes.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = classes.ReshapeOptionsT(newShape=target)


def transposes_images(model: TfliteModel) -> bool:
    """Whether a transpose of a four-dimensional tensor is left."""
    return any(
        _permutation(model, operator) is not None
        and len(model.shape(model.graph.tensors[int(operator.inputs[0])])) == 4
        for operator in model.graph.operators
    )
