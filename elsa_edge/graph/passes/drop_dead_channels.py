"""Remove channels that are exactly zero wherever a layer reads them:

    x[:, c] = 0 for every reader   =>   drop row c of the layers that make it and column c of the layers that read it

    requires  constant weights; activations are finite (0 * x = 0)
    ensures   the same outputs from smaller layers; a group keeps at least one channel

Channels are grouped over the layers that must agree on them (element-wise operators, residual adds, depthwise
convolutions). A group that reaches an output, or an operator not listed here, is left alone.
Decide (`channel_groups.analyse`) is apart from do (this file).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.channel_groups import Cut, analyse
from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.numbers import Numbers

__all__ = ["DropDeadChannels"]


class DropDeadChannels(ir.passes.InPlacePass):
    """Select the living channels of every weight that belongs to a group with dead ones."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any channel was dropped."""
        graph = model.graph
        groups = [group for group in analyse(graph, Numbers(model)) if not group.living.all()]
        for group in groups:
            for cut in group.cuts:
                self._select(graph, cut, group.living)
            for node in group.depthwise:
                node.attributes["group"] = ir.AttrInt64("group", int(group.living.sum()))
            for reshape, factor in group.flattened:
                size = int(group.living.sum()) * factor
                reshape.replace_input_with(
                    1, constant(graph, f"{reshape.outputs[0].name}.shape", np.array([-1, size], np.int64))
                )
            for value in group.values:
                if value.shape is not None and not value.is_graph_output():
                    value.shape = None  # inferred again by whoever needs it
        return ir.passes.PassResult(model, modified=bool(groups))

    @staticmethod
    def _select(graph: ir.Graph, cut: Cut, living: npt.NDArray[np.bool_]) -> None:
        """Put  Gather(weight, living channels)  before one reader of a constant."""
        source = cut.node.inputs[cut.operand]
        assert source is not None
        kept = np.flatnonzero(np.repeat(living, cut.repeat))
        wish = f"{str(source.name).removesuffix('.kept')}.kept"
        selected = ir.Value(name=fresh_name(graph, wish), type=source.type)
        indices = constant(graph, f"{wish}.channels", kept.astype(np.int64))
        gather = ir.node("Gather", [source, indices], {"axis": cut.axis}, outputs=[selected])
        graph.insert_before(cut.node, gather)
        cut.node.replace_input_with(cut.operand, selected)
