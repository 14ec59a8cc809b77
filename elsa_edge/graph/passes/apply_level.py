"""Fix the level:  level.checked = k

requires  a canonical graph
ensures   no level input; masks and tables depend on constants only, so folding turns them into plain weights
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from elsa_edge.errors import ContractError
from elsa_edge.graph.constants import constant
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.nesting import CHECKED

__all__ = ["ApplyLevel"]


class ApplyLevel(ir.passes.InPlacePass):
    """Replace the checked level by the constant `level`, and remove the level input with its guard."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place."""
        graph = model.graph
        checked = next((out for node in graph for out in node.outputs if out.name == CHECKED), None)
        if checked is None:
            raise ContractError("This graph has no level to fix", expected=f"a value named {CHECKED}")
        gather = checked.producer()
        assert gather is not None
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
