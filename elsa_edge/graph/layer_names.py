"""Which names an operator that multiplies with a nested weight may bear once a runtime has fused it with what follows.

    W.masked -> Conv -> BatchNormalization -> Relu      one operator of a runtime, named after any of the three

For people only: a report puts the time that a runtime tells beside the layer that took it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import MASKED

__all__ = ["names_by_weight"]

_MOVES: Final = frozenset({"Reshape", "Transpose", "Slice", "Unsqueeze", "Squeeze", "Identity", "Cast"})
_FUSED: Final = frozenset(
    {
        "Add",
        "BatchNormalization",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mul",
        "PRelu",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Sub",
        "Tanh",
    }
)
# GELU written out is eight operators.
_LONGEST_CHAIN: Final = 12


def names_by_weight(graph: CanonicalGraph) -> dict[str, tuple[str, ...]]:
    """Return nested weight -> names of nodes and values of its layer, in the graph's order.

    A name that two layers reach, where branches join, belongs to the one that is computed later: that one is fused.
    """
    places = {node: place for place, node in enumerate(graph.model.graph)}
    masked = {
        value.name: value for node in graph.model.graph for value in node.outputs if value.name is not None
    }
    chains: dict[str, list[ir.Node]] = {}
    for weight in graph.nested:
        value = masked.get(weight + MASKED)
        if value is not None:
            chains[weight] = [node for product in _products(value) for node in _chain(product)]
    owner: dict[str, str] = {}
    for weight in sorted((w for w in chains if chains[w]), key=lambda w: places.get(chains[w][0], -1)):
        for node in chains[weight]:
            for name in (node.name, *(value.name for value in node.outputs)):
                if name:
                    owner[name] = weight
    found: dict[str, list[str]] = {weight: [] for weight in chains}
    for name, weight in owner.items():
        found[weight].append(name)
    return {weight: tuple(names) for weight, names in found.items()}


def _products(value: ir.Value) -> Iterator[ir.Node]:
    """Yield what uses a weight, behind what only moves its numbers about."""
    for node, _ in value.uses():
        if node.op_type in _MOVES:
            for output in node.outputs:
                yield from _products(output)
        else:
            yield node


def _chain(node: ir.Node) -> Iterator[ir.Node]:
    """Yield a node and the element-wise ones behind it, as far as nothing else reads what is between."""
    for _ in range(_LONGEST_CHAIN):
        yield node
        if len(node.outputs) != 1 or node.outputs[0].is_graph_output():
            return
        uses = list(node.outputs[0].uses())
        if len(uses) != 1 or uses[0][0].op_type not in _FUSED:
            return
        node = uses[0][0]
