"""New constants in a graph, under names that are still free."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

__all__ = ["constant", "fresh_name"]


def fresh_name(graph: ir.Graph, wish: str) -> str:
    """Return `wish`, or `wish_2`, `wish_3` ... when the graph already has a value of that name."""
    taken = set(graph.initializers) | {value.name for value in graph.inputs}
    taken |= {output.name for node in graph for output in node.outputs}
    name, count = wish, 2
    while name in taken:
        name, count = f"{wish}_{count}", count + 1
    return name


def constant(graph: ir.Graph, wish: str, array: npt.NDArray[Any]) -> ir.Value:
    """Add an initializer under a name that is still free, and return it."""
    name = fresh_name(graph, wish)
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value
