"""Cut a canonical graph into a chain of canonical graphs, each with a level of its own.

    network(x, k)  =  segment_2(segment_1(segment_0(x, k), k), k)            the same numbers, for every level k
    rerouted       =  segment_2(segment_1(segment_0(x, 2), 0), 0)            what a level input alone cannot say

Each segment keeps the contract of the whole, so that whatever rewrites a network rewrites a segment. What does not
depend on data (masks, tables, the guard of the level) is copied into each segment that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.errors import ExportError
from elsa_edge.graph.borders import Place, choose_borders
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.check import check_contract
from elsa_edge.graph.flops import at_batch_1, flops_fractions, multiply_adds, work_of
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.levels import Ladder

__all__ = ["Segments", "cut", "reads_of", "segment_of_nodes"]


@dataclass(frozen=True)
class Segments:
    """A canonical graph in pieces.

    Attributes:
        whole: The graph that was cut, its nodes in the order that the borders count in.
        graphs: One canonical graph a segment; what crosses a border is an output of one and an input of later ones.
        borders: Index in the order of the nodes of the whole after which each border lies.
        work: Multiply-adds of each segment at each level, (segments, levels).
        live_bytes: What is carried across each border at batch 1.
    """

    whole: CanonicalGraph
    graphs: tuple[CanonicalGraph, ...]
    borders: tuple[int, ...]
    work: tuple[tuple[float, ...], ...]
    live_bytes: tuple[int, ...]

    def shares(self) -> tuple[tuple[float, ...], ...]:
        """Return the part of a level's work that each segment does, (segments, levels)."""
        totals = [max(sum(level), 1.0) for level in zip(*self.work, strict=True)]
        return tuple(tuple(w / t for w, t in zip(of_one, totals, strict=True)) for of_one in self.work)


def reads_of(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what a node reads, what its branches and bodies read from outside included."""
    for value in node.inputs:
        if value is not None:
            yield value
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            inner = attribute.as_graph()
            for inside in inner.all_nodes():
                yield from (value for value in inside.inputs if value is not None)
            yield from inner.outputs


def _with_data(model: ir.Model) -> list[bool]:
    """Tell for each node whether it depends on an input other than the level."""
    reached = {id(value) for value in model.graph.inputs if value.name != LEVEL_INPUT}
    found = []
    for node in model.graph:
        depends = any(id(value) in reached for value in reads_of(node))
        if depends:
            reached |= {id(value) for value in node.outputs}
        found.append(depends)
    return found


def _with_level(model: ir.Model) -> set[int]:
    """Return the ids of the values that depend on the level and on no data."""
    data, reached = _with_data(model), {id(v) for v in model.graph.inputs if v.name == LEVEL_INPUT}
    for node, depends in zip(model.graph, data, strict=True):
        if not depends and any(id(value) in reached for value in reads_of(node)):
            reached |= {id(value) for value in node.outputs}
    return reached


def segment_of_nodes(model: ir.Model, borders: tuple[int, ...]) -> list[int | None]:
    """Return the segment of each node in the order of the graph; None for nodes that no data reaches."""
    return [
        sum(place > border for border in borders) if depends else None
        for place, depends in enumerate(_with_data(model))
    ]


def cut(graph: CanonicalGraph, count: int) -> Segments:
    """Cut a graph into `count` segments at cheap borders.

    Args:
        graph: A checked canonical graph; it is not modified.
        count: How many segments.

    Raises:
        ContractError: When a segment does not keep the contract.
        ExportError: When the graph cannot be cut into so many.
    """
    if len(graph.ladder) < 2:
        raise ExportError(
            "A network of one level cannot be rerouted",
            expected="a sparser level to go on at",
            fix="Leave out --reroute, or sparsify it to two levels or more",
        )
    graph = _typed(graph)
    small = at_batch_1(graph)
    places, total = _places(small)
    borders = tuple(choose_borders(places, total, count))
    graphs = _pieces(graph, borders)
    work = []
    for piece in graphs:
        amount = max(multiply_adds(piece)[0], 1.0)
        work.append(tuple(amount * share for share in flops_fractions(piece)))
    return Segments(graph, graphs, borders, tuple(work), tuple(places[b].live_bytes or 0 for b in borders))


def _typed(graph: CanonicalGraph) -> CanonicalGraph:
    """Return the graph with the types and shapes that inference finds, and its nodes in an order of execution."""
    copy = graph.copy()
    copy.model.graph.sort()
    return replace(copy, model=common.ShapeInferencePass()(copy.model).model)


def _places(model: ir.Model) -> tuple[list[Place], Place]:
    """Describe the place behind each node of a graph with known shapes, and what lies behind all."""
    nodes, data, levelled = list(model.graph), _with_data(model), _with_level(model)
    last_use: dict[int, int] = {}
    for place, (node, depends) in enumerate(zip(nodes, data, strict=True)):
        if depends:
            last_use.update((id(value), place) for value in reads_of(node))
    live: dict[int, ir.Value] = {}
    places = []
    work, steps = 0.0, 0
    for place, (node, depends) in enumerate(zip(nodes, data, strict=True)):
        if depends:
            work += work_of(node)
            steps += any(id(value) in levelled for value in reads_of(node))
            live.update((id(v), v) for v in node.outputs if last_use.get(id(v), -1) > place)
            live = {key: value for key, value in live.items() if last_use[key] > place}
        places.append(Place(work, _bytes(live.values()) if depends and live else None, steps))
    return places, Place(work, 0, steps)


def _bytes(values: Iterable[ir.Value]) -> int | None:
    """Return the bytes of some tensors, None where one is of an unknown type or rank."""
    total = 0
    for value in values:
        if value.shape is None or value.dtype is None or not isinstance(value.type, ir.TensorType):
            return None
        total += math.prod(size if isinstance(size, int) else 1 for size in value.shape) * int(
            value.dtype.itemsize
        )
    return total


def _pieces(graph: CanonicalGraph, borders: tuple[int, ...]) -> tuple[CanonicalGraph, ...]:
    """Return the segments, each a clone of the whole from which the rest was taken."""
    nodes, of_node = list(graph.model.graph), segment_of_nodes(graph.model, borders)
    made = {
        str(value.name): segment
        for node, segment in zip(nodes, of_node, strict=True)
        if segment is not None
        for value in node.outputs
    }
    read: list[dict[str, None]] = [{} for _ in range(len(borders) + 1)]
    for node, segment in zip(nodes, of_node, strict=True):
        if segment is not None:
            read[segment].update((str(value.name), None) for value in reads_of(node))
    results = [str(value.name) for value in graph.model.graph.outputs]
    own = [str(value.name) for value in graph.model.graph.inputs if value.name != LEVEL_INPUT]
    pieces = []
    for segment, names in enumerate(read):
        later = {name for others in read[segment + 1 :] for name in others}
        outputs = [name for name, at in made.items() if at == segment and (name in later or name in results)]
        if segment == len(borders):  # what no data reaches is made at the end
            outputs += [name for name in results if name not in made and name not in own]
        inputs = [name for name in names if name in own or made.get(name, segment) < segment]
        if not outputs:
            raise ExportError("A segment of the network makes nothing that is read later")
        pieces.append(_piece(graph, inputs, outputs))
    return tuple(pieces)


def _piece(graph: CanonicalGraph, inputs: list[str], outputs: list[str]) -> CanonicalGraph:
    """Return the part of a graph between some tensors, as a canonical graph."""
    model = graph.copy().model
    inner = model.graph
    values = {str(v.name): v for v in [*inner.inputs, *(out for node in inner for out in node.outputs)]}
    level = values[LEVEL_INPUT]
    taken = []
    for name in inputs:
        value = values[name]
        if value in inner.inputs:
            taken.append(value)
            continue
        given = ir.Value(name=name, shape=value.shape, type=value.type)
        value.name = f"{name}.made"
        value.replace_all_uses_with(given, replace_graph_outputs=True)
        taken.append(given)
    inner.inputs[:] = [*taken, level]
    inner.outputs[:] = [values[name] for name in outputs]
    common.RemoveUnusedNodesPass()(model)
    piece = replace(graph, model=model, noise={})
    ladder = Ladder(
        tuple(
            replace(level.without_accuracy(), density=density, flops_fraction=None)
            for level, density in zip(piece.ladder, piece.densities, strict=True)
        )
    )
    return check_contract(piece.with_ladder(ladder))
