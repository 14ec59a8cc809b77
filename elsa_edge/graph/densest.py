"""Nested weights in the form in which the plain network of the densest level has them, and the way back:

    W  --mask of the densest level-->  Transpose, Mul by constants (BatchNorm)  -->  D    what its layer reads
    W' = D  -->  Div by the same constants, Transpose back              W again, where that level uses it

Whoever writes a plain densest level stores D, so variants that make the sparser levels of W' share these bytes. A
division undoes a product but for the last bit; where it does not (a BatchNorm that multiplies by zero), W stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.names import MASKED
from elsa_edge.graph.numbers import Numbers

__all__ = ["DensestWeight", "densest_weights"]

Array = npt.NDArray[Any]
# A permutation of axes, or the factors of a product.
Step = tuple[int, ...] | Array

# Two roundings, of the product and of the division, and one to spare.
_LARGEST_ERROR: Final = 3 * 2.0**-24


@dataclass(frozen=True)
class DensestWeight:
    """A nested weight as a layer of the densest level's plain network reads it.

    Attributes:
        numbers: D.
        steps: What lies between the masked weight and D, in order.
        result: Name of the first output of the layer that reads D.
        operand: Which of its inputs D is.
    """

    numbers: Array
    steps: tuple[Step, ...]
    result: str
    operand: int

    def restored_here(self) -> Array:
        """Return W' in numpy."""
        found = self.numbers
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for step in reversed(self.steps):
                found = (
                    found / step if isinstance(step, np.ndarray) else np.transpose(found, np.argsort(step))
                )
        return found

    def restored(self, graph: ir.Graph, stored: ir.Value, name: str) -> ir.Value:
        """Append to `graph` the nodes that compute W' from the value `stored`, and return it."""
        value = stored
        for number, step in enumerate(reversed(self.steps)):
            if isinstance(step, np.ndarray):
                factors = constant(graph, f"{name}.factors_{number}", step)
                node = ir.node("Div", [value, factors])
            else:
                node = ir.node("Transpose", [value], {"perm": [int(axis) for axis in np.argsort(step)]})
            node.outputs[0].name = fresh_name(graph, f"{name}.restored_{number}")
            node.outputs[0].type = stored.type
            graph.append(node)
            value = node.outputs[0]
        return value


def densest_weights(graph: CanonicalGraph, *, least_bytes: int) -> Mapping[str, DensestWeight]:
    """Return the nested weights that can be had back from what the densest level stores; others are left out.

    Args:
        graph: The canonical graph; it is not modified.
        least_bytes: Leave out weights that are smaller.
    """
    last = len(graph.ladder) - 1
    model = at_level(graph, last, fold=False)
    numbers = Numbers(model)
    values = {output.name: output for node in model.graph for output in node.outputs}
    found = {}
    for name in graph.nested:
        masked = values.get(name + MASKED)
        weight = _followed(masked, numbers) if masked is not None else None
        if weight is None or weight.numbers.nbytes < least_bytes:
            continue
        if _agrees(weight, graph.weight(name), graph.index(name) <= last):
            found[name] = weight
    return found


def _followed(value: ir.Value, numbers: Numbers) -> DensestWeight | None:
    """Follow a masked weight to the layer that reads it, past what can be undone."""
    steps: list[Step] = []
    while True:
        uses = value.uses()
        if len(uses) != 1 or value.is_graph_output():
            return None
        (use,) = uses
        node = use.node
        step = _step(node, use.idx, numbers)
        if step is None:
            array = numbers.get(value)
            return (
                None
                if array is None
                else DensestWeight(array, tuple(steps), str(node.outputs[0].name), use.idx)
            )
        steps.append(step)
        value = node.outputs[0]


def _step(node: ir.Node, operand: int, numbers: Numbers) -> Step | None:
    """Return what a node does to a weight, None where that cannot be undone or happens while the network runs."""
    if node.op_type == "Transpose" and "perm" in node.attributes:
        return tuple(node.attributes["perm"].as_ints())
    return numbers.get(node.inputs[1 - operand]) if node.op_type == "Mul" else None


def _agrees(weight: DensestWeight, original: Array, used: npt.NDArray[np.bool_]) -> bool:
    """Tell whether W' is W, but for rounding, where the densest level uses it."""
    restored = weight.restored_here()
    if restored.shape != original.shape or restored.dtype != original.dtype:
        return False
    difference = np.abs(restored.astype(np.float64) - original)[used]
    return bool(np.all(difference <= _LARGEST_ERROR * np.abs(original.astype(np.float64))[used]))
