"""Fix the level:  level.checked = k

requires  a canonical graph: a value `level.checked` that comes from the guard
ensures   no level input, and `level.checked` is a constant; masks and tables depend on constants only, so folding turns
          them into plain weights
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from elsa_edge.graph.constants import constant
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.nesting import CHECKED
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["ApplyLevel"]


class ApplyLevel(Rewrite):
    """Replace the checked level by the constant `level`, and remove the level input with its guard."""

    removes = frozenset({LEVEL_INPUT})

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without a level."""
        super().requires(model)
        if _checked(model.graph) is None:
            raise ir.passes.PreconditionError(f"ApplyLevel needs a canonical graph: no node makes {CHECKED}")

    def ensures(self, model: ir.Model) -> None:
        """Refuse a graph that still asks for a level."""
        super().ensures(model)
        asked = any(value.name == LEVEL_INPUT for value in model.graph.inputs)
        if asked or CHECKED not in model.graph.initializers:
            raise ir.passes.PostconditionError("ApplyLevel left the level open")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place."""
        graph = model.graph
        checked = _checked(graph)
        gather = checked.producer() if checked is not None else None
        assert checked is not None and gather is not None  # noqa: PT018 - one fact: `requires` said so
        checked.name = CHECKED + ".was"
        fixed = constant(graph, CHECKED, np.array(self.level, np.int64))
        checked.replace_all_uses_with(fixed)
        where = gather.inputs[1].producer() if gather.inputs[1] is not None else None
        less = where.inputs[0].producer() if where is not None and where.inputs[0] is not None else None
        for node in (gather, where, less):
            if node is not None:
                graph.remove(node, safe=True)
        graph.inputs[:] = [value for value in graph.inputs if value.name != LEVEL_INPUT]
        return ir.passes.PassResult(model, modified=True)


def _checked(graph: ir.Graph) -> ir.Value | None:
    return next((out for node in graph for out in node.outputs if out.name == CHECKED), None)
