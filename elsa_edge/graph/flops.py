"""Multiply-adds of each level as a fraction of the dense network's, from the graph's own shapes at batch 1.

    uses(W)  = multiply-adds of the layers that W feeds / size(W)      how often each weight of W is used
    total_k  = rest + sum_W uses(W) * active_k(W)                      rest: dense layers, attention products

A zero weight counts as no work: this is what a sparse kernel could save, not what a dense one does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import MASKED
from elsa_edge.levels import active_counts

__all__ = ["at_batch_1", "flops_fractions", "multiply_adds", "multiply_adds_of", "work_of"]

# Operators that only move a weight's numbers about on their way to the layer that multiplies with them.
_MOVES: Final = {
    "Reshape",
    "Transpose",
    "Slice",
    "Split",
    "Concat",
    "Unsqueeze",
    "Squeeze",
    "Identity",
    "Cast",
    "Flatten",
}


def _size(value: ir.Value | None) -> int:
    """Number of elements with every free dimension taken as 1; 0 where the shape is unknown."""
    if value is None or value.shape is None:
        return 0
    return math.prod(size if isinstance(size, int) else 1 for size in value.shape)


def _length(value: ir.Value | None, axis: int) -> int:
    if value is None or value.shape is None or not value.shape:
        return 1
    size = value.shape[axis]
    return size if isinstance(size, int) else 1


def multiply_adds_of(node: ir.Node) -> int:
    """Return the multiply-adds of one node at batch 1; 0 for nodes that do not multiply with weights."""
    if node.op_type == "Conv":
        weight = node.inputs[1]
        return _size(node.outputs[0]) * _size(weight) // max(1, _length(weight, 0))
    if node.op_type == "ConvTranspose":
        weight = node.inputs[1]
        return _size(node.inputs[0]) * _size(weight) // max(1, _length(weight, 0))
    if node.op_type in ("MatMul", "Gemm"):
        transposed = node.op_type == "Gemm" and bool(
            node.attributes.get("transA") and node.attributes["transA"].as_int()
        )
        return _size(node.outputs[0]) * _length(node.inputs[0], 0 if transposed else -1)
    if node.op_type in ("LSTM", "GRU", "RNN"):
        layout = node.attributes.get("layout")
        steps = _length(node.inputs[0], 1 if layout and layout.as_int() else 0)
        return steps * (_size(node.inputs[1]) + _size(node.inputs[2]))
    return 0


def _layers_fed(value: ir.Value) -> Iterator[tuple[ir.Node, ir.Value]]:
    """Yield the (layer, operand) pairs that a weight reaches through moves only, each once."""
    seen: set[tuple[int, int]] = set()
    queue = [value]
    while queue:
        current = queue.pop()
        for use in current.uses():
            if (id(use.node), use.idx) in seen:
                continue
            seen.add((id(use.node), use.idx))
            if use.node.op_type in _MOVES:
                queue.extend(use.node.outputs)
            elif multiply_adds_of(use.node):
                yield use.node, current


def _operand_share(node: ir.Node, operand: ir.Value) -> float:
    """Multiply-adds that go through one operand; a recurrent layer has two weight operands."""
    if node.op_type in ("LSTM", "GRU", "RNN"):
        both = _size(node.inputs[1]) + _size(node.inputs[2])
        return multiply_adds_of(node) * _size(operand) / max(1, both)
    return float(multiply_adds_of(node))


def _at_batch_1(shape: ir.Shape) -> ir.Shape | None:
    """Return a shape with the batch set to 1, or None where an expression leaves it to shape inference."""
    sizes = [1 if not isinstance(size, int) and size.value == "batch" else size for size in shape]
    return ir.Shape(sizes) if all(isinstance(size, int) for size in sizes) else None


def at_batch_1(graph: CanonicalGraph) -> ir.Model:
    """Return a copy of the graph in which every shape that can be known at batch 1 is."""
    model = graph.copy().model
    for value in [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]:
        if value.shape is not None:
            value.shape = _at_batch_1(value.shape)
    return common.ShapeInferencePass()(model).model


def work_of(node: ir.Node) -> float:
    """Return what a node costs, in multiply-adds: at least one for each number that it writes."""
    return float(max(multiply_adds_of(node), sum(_size(output) for output in node.outputs)))


def multiply_adds(graph: CanonicalGraph) -> tuple[float, dict[str, float]]:
    """Return the multiply-adds of the dense network at batch 1, and of each nested weight's own layers."""
    model = at_batch_1(graph)
    values = {output.name: output for node in model.graph for output in node.outputs}
    of_weight = {}
    for name in graph.nested:
        size = graph.index(name).size
        # A concatenated operand holds several weights: this one's part of it, at most all of itself.
        of_weight[name] = sum(
            _operand_share(node, operand) * min(1.0, size / max(1, _size(operand)))
            for node, operand in _layers_fed(values[name + MASKED])
        )
    return float(sum(multiply_adds_of(node) for node in model.graph)), of_weight


def flops_fractions(graph: CanonicalGraph) -> tuple[float, ...]:
    """Return, for each level, its multiply-adds over those of the dense network, in (0, 1]."""
    total, of_weight = multiply_adds(graph)
    if total == 0:
        return (1.0,) * len(graph.ladder)
    saved = np.zeros(len(graph.ladder))
    for name, work in of_weight.items():
        index = graph.index(name)
        saved += work / index.size * (index.size - active_counts(index, len(graph.ladder)))
    return tuple(float(np.clip(1.0 - s / total, 0.0, 1.0)) for s in saved)
