"""The oracle of a rerouted inference: the whole canonical graph, uncut, with a level for each segment.

    level -> level.0, level.1, ...      nodes that depend on the level alone are copied once a segment, nothing else is

It shares the assignment of nodes to segments with `elsa_edge.graph.segments` and none of the cutting, so that a
tensor that was lost or mixed up at a border shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.oracle import run_model_on
from elsa_edge.graph.segments import Segments, reads_of, segment_of_nodes

__all__ = ["run_rerouted", "with_level_vector"]

Array = npt.NDArray[Any]


def run_rerouted(
    segments: Segments, inputs: Mapping[str, Array], vectors: Sequence[Sequence[int]]
) -> tuple[dict[str, Array], ...]:
    """Return the outputs for each vector of levels, one level per segment.

    Args:
        segments: Where the network is cut.
        inputs: Input name -> array.
        vectors: Each has one level per segment.
    """
    model = with_level_vector(segments)
    feeds = (
        {_name(segment): np.array(level, np.int64) for segment, level in enumerate(vector)}
        for vector in vectors
    )
    return tuple(run_model_on(model, [{**inputs, **feed} for feed in feeds]))


def with_level_vector(segments: Segments) -> ir.Model:
    """Return the graph with the inputs `level.0`, `level.1`, ... instead of `level`."""
    borders = segments.borders
    model = segments.whole.copy().model
    inner = model.graph
    level = next(value for value in inner.inputs if value.name == LEVEL_INPUT)
    of_node = segment_of_nodes(model, borders)
    nodes = list(inner)
    levelled = {id(level)}
    for node, segment in zip(nodes, of_node, strict=True):
        if segment is None and any(id(value) in levelled for value in reads_of(node)):
            levelled |= {id(value) for value in node.outputs}
    given = [ir.Value(name=_name(k), shape=level.shape, type=level.type) for k in range(len(borders) + 1)]
    copies: dict[tuple[int, int], ir.Value] = {(id(level), k): value for k, value in enumerate(given)}

    def copied(value: ir.Value, segment: int) -> ir.Value:
        """Return a value that depends on the level alone, as a segment sees it."""
        key = (id(value), segment)
        if key not in copies:
            node = value.producer()
            assert node is not None
            inputs = [
                copied(read, segment) if read is not None and id(read) in levelled else read
                for read in node.inputs
            ]
            outputs = [
                ir.Value(name=f"{out.name}/{segment}", shape=out.shape, type=out.type) for out in node.outputs
            ]
            copy = ir.Node(
                node.domain, node.op_type, inputs, list(node.attributes.values()), outputs=outputs,
                name=f"{node.name}/{segment}",
            )  # fmt: skip
            inner.insert_before(nodes[0], copy)
            copies.update({(id(out), segment): new for out, new in zip(node.outputs, outputs, strict=True)})
        return copies[key]

    for node, segment in zip(nodes, of_node, strict=True):
        if segment is None:
            continue
        for reader in (node, *_inside(node)):
            for place, value in enumerate(reader.inputs):
                if value is not None and id(value) in levelled:
                    reader.replace_input_with(place, copied(value, segment))
    inner.inputs[:] = [*(value for value in inner.inputs if value is not level), *given]
    # What only the level reached may be an output; it is that of the last segment.
    inner.outputs[:] = [
        copied(value, len(borders)) if id(value) in levelled else value for value in inner.outputs
    ]
    common.RemoveUnusedNodesPass()(model)
    inner.sort()
    return model


def _name(segment: int) -> str:
    return f"{LEVEL_INPUT}.{segment}"


def _inside(node: ir.Node) -> list[ir.Node]:
    return [
        inner
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
        for inner in attribute.as_graph().all_nodes()
    ]
