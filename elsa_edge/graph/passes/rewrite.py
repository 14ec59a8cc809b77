"""What every pass keeps, executed around each of them: the network's interface, and a source for each value.

requires  every value that a node reads comes from a node before it, an initializer or an input
ensures   the same, and the same inputs and outputs by name, type, shape and order; a pass that removes one names it

A pass adds what it alone requires and ensures.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

__all__ = ["Rewrite", "dangling"]

Interface = tuple[list[tuple[str | None, ir.DataType | None, ir.Shape | None]], ...]


def dangling(model: ir.Model) -> Iterator[str]:
    """Yield a sentence for each value that is read and that nothing makes before."""
    yield from _dangling(model.graph, set())


def _dangling(graph: ir.Graph, outside: set[ir.Value]) -> Iterator[str]:
    known = outside | set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in known:
                yield f"{node.op_type} {node.name or '(unnamed)'} reads {value.name}, which nothing makes before it"
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _dangling(attribute.as_graph(), known)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for inner in attribute.as_graphs():
                    yield from _dangling(inner, known)
        known |= set(node.outputs)
    for value in graph.outputs:
        if value not in known:
            yield f"the output {value.name} is made by nothing"


class Rewrite(ir.passes.InPlacePass):
    """A pass of ours. Used for one model at a time.

    Attributes:
        removes: Names of inputs that are gone afterwards.
    """

    removes: frozenset[str] = frozenset()

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph that is broken already.

        Raises:
            PreconditionError: Naming the first value without a source.
        """
        for problem in dangling(model):
            raise ir.passes.PreconditionError(f"{type(self).__name__} was given a broken graph: {problem}")
        self._before = self._interface(model)

    def ensures(self, model: ir.Model) -> None:
        """Refuse to go on with a graph that this pass has broken.

        Raises:
            PostconditionError: Naming the first value without a source, or the interface that changed.
        """
        for problem in dangling(model):
            raise ir.passes.PostconditionError(f"{type(self).__name__} broke the graph: {problem}")
        if self._interface(model) != self._before:
            raise ir.passes.PostconditionError(
                f"{type(self).__name__} changed the inputs or outputs of the network"
            )

    def _interface(self, model: ir.Model) -> Interface:
        inputs = [value for value in model.graph.inputs if value.name not in self.removes]
        return tuple(
            [(value.name, value.dtype, value.shape) for value in values]
            for values in (inputs, model.graph.outputs)
        )
