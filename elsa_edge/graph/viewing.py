"""A copy of a canonical graph for people to look at: one node for each nested weight, a function of its own.

    AtLevel(W, index, level) = reshape(where(flat(index) <= level, flat(W), 0), shape(W))

It computes the same numbers in any runtime that knows ONNX functions. What variants and proofs are made of stays
the plain graph: five operators a weight, in which nothing is hidden.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import MASKED

__all__ = ["FUNCTION", "for_viewers"]

FUNCTION: Final = "AtLevel"
_DOMAIN: Final = "elsa_edge"


def for_viewers(graph: CanonicalGraph) -> ir.Model:
    """Return the graph with the operators that mask a weight folded into one node; the argument stays as it is."""
    model = graph.copy().model
    function = _at_level(model.opset_imports[""])
    model.functions[function.identifier()] = function
    model.opset_imports[_DOMAIN] = 1
    by_output = {node.outputs[0].name: node for node in model.graph}
    for name in graph.nested:
        _fold(model.graph, by_output[name + MASKED])
    common.RemoveUnusedNodesPass()(model)
    return model


def _fold(graph: ir.Graph, last: ir.Node) -> None:
    """Replace the five operators that end in `last`, as `nesting.attach` has put them in."""
    kept = _producer(last.inputs[0])
    active, flat = _producer(kept.inputs[0]), _producer(kept.inputs[1])
    index_flat = _producer(active.inputs[0])
    old = last.outputs[0]
    new = ir.Value(name=old.name, shape=old.shape, type=old.type)
    node = ir.node(
        FUNCTION,
        [flat.inputs[0], index_flat.inputs[0], active.inputs[1]],
        domain=_DOMAIN,
        outputs=[new],
        name=last.name,
    )
    node.metadata_props.update(last.metadata_props)
    ir.convenience.replace_nodes_and_values(
        graph, last, [index_flat, active, flat, kept, last], [node], [old], [new]
    )


def _producer(value: ir.Value | None) -> ir.Node:
    node = None if value is None else value.producer()
    assert node is not None
    return node


def _at_level(opset: int) -> ir.Function:
    weight, index, level = (ir.Value(name=name) for name in ("weight", "index", "level"))

    def value_of(op_type: str, inputs: list[ir.Value], **attributes: ir.TensorProtocol) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        nodes.append(node)
        return node.outputs[0]

    nodes: list[ir.Node] = []
    flat = value_of("Constant", [], value=ir.tensor([-1]))
    zero = value_of("Constant", [], value=ir.tensor(0.0))
    active = value_of("LessOrEqual", [value_of("Reshape", [index, flat]), level])
    kept = value_of("Where", [active, value_of("Reshape", [weight, flat]), zero])
    at_level = value_of("Reshape", [kept, value_of("Shape", [weight])])
    at_level.name = "at_level"
    body = ir.Graph([weight, index, level], [at_level], nodes=nodes, opset_imports={"": opset}, name=FUNCTION)
    return ir.Function(_DOMAIN, FUNCTION, graph=body, attributes=[])
