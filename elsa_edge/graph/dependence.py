"""Which outputs of a graph are computed from the numbers of its inputs, and which whole numbers its inputs may hold.

A shape is not a number: what follows only the size of an input (positions, anchors of a grid) may be constant.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import LEVEL_INPUT

__all__ = ["depending_outputs", "vocabularies"]

_SHAPE_ONLY = ("Shape", "Size")


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what a node reads, what its branches and bodies read from outside included."""
    for value in node.inputs:
        if value is not None:
            yield value
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph().all_nodes():
                yield from (value for value in inner.inputs if value is not None)


def depending_outputs(model: ir.Model) -> frozenset[str]:
    """Return the names of the outputs that are computed from the numbers of an input other than the level."""
    reached = {id(value) for value in model.graph.inputs if value.name != LEVEL_INPUT}
    for node in model.graph:
        if node.op_type in _SHAPE_ONLY and node.domain in ("", "ai.onnx"):
            continue
        if any(id(value) in reached for value in _read(node)):
            reached |= {id(value) for value in node.outputs}
    return frozenset(str(value.name) for value in model.graph.outputs if id(value) in reached)


def vocabularies(graph: CanonicalGraph) -> dict[str, tuple[int, int]]:
    """Return the range of each input of whole numbers where it is known.

    It is known from real inputs at export (`provenance["ranges"]`), or from the smallest table that the input indexes
    directly.
    """
    ranges: dict[str, tuple[int, int]] = {}
    for node in graph.model.graph.all_nodes():
        if node.op_type != "Gather" or len(node.inputs) < 2:
            continue
        table, indices = node.inputs[0], node.inputs[1]
        if table is None or indices is None or indices.name not in graph.inputs or table.shape is None:
            continue
        axis = node.attributes.get_int("axis", 0)
        size = table.shape[axis] if table.shape.rank() > axis >= 0 else None
        if isinstance(size, int) and size > 0:
            name = str(indices.name)
            ranges[name] = (0, min(size - 1, ranges.get(name, (0, size - 1))[1]))
    for name, seen in dict(graph.provenance.get("ranges", {})).items():
        if name in graph.inputs and len(seen) == 2:
            ranges[name] = (int(seen[0]), int(seen[1]))
    return ranges
