"""Remove channels that are exactly zero wherever a layer reads them:

    x[:, c] = 0 for every reader   =>   drop row c of the layers that make it and column c of the layers that read it

    requires  constant weights; activations are finite (0 * x = 0)
    ensures   the same outputs from smaller layers; a group keeps at least one channel, and as many dead ones as its
              number needs to divide by the powers of two up to `align` that it divided by before

Runtimes work on 8 or 16 channels at a time and fall back to slower kernels where a number of channels does not divide:
MobileNetV2 with half of its channels gone was a third slower than with all of them.

Channels are grouped over the layers that must agree on them (element-wise operators, residual adds, depthwise
convolutions). A group that reaches an output, or an operator not listed here, is left alone.
Decide (`channel_groups.analyse`) is apart from do (this file).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.channel_groups import Cut, analyse
from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.numbers import Numbers

__all__ = ["DropDeadChannels", "kept_channels"]


def kept_channels(living: npt.NDArray[np.bool_], align: int) -> npt.NDArray[np.bool_]:
    """Return the living channels and the first dead ones that keep their number as divisible as all of them are.

    Args:
        living: (channels) True where a channel is not zero.
        align: The largest power of two that matters.
    """
    unit = math.gcd(len(living), align)
    dead = np.flatnonzero(~living)
    kept = living.copy()
    kept[dead[: -int(living.sum()) % unit]] = True
    return kept


class DropDeadChannels(ir.passes.InPlacePass):
    """Select the living channels of every weight that belongs to a group with dead ones.

    Args:
        align: The largest power of two that a smaller number of channels keeps as a divisor; 1 drops all dead channels.
    """

    def __init__(self, align: int = 1) -> None:
        self._align = align

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any channel was dropped."""
        graph = model.graph
        found = [
            (group, kept_channels(group.living, self._align)) for group in analyse(graph, Numbers(model))
        ]
        smaller = [(group, kept) for group, kept in found if not kept.all()]
        for group, kept in smaller:
            for cut in group.cuts:
                self._select(graph, cut, kept)
            for node in group.depthwise:
                node.attributes["group"] = ir.AttrInt64("group", int(kept.sum()))
            for reshape, factor in group.flattened:
                size = int(kept.sum()) * factor
                reshape.replace_input_with(
                    1, constant(graph, f"{reshape.outputs[0].name}.shape", np.array([-1, size], np.int64))
                )
            for value in group.values:
                if value.shape is not None and not value.is_graph_output():
                    value.shape = None  # inferred again by whoever needs it
        return ir.passes.PassResult(model, modified=bool(smaller))

    @staticmethod
    def _select(graph: ir.Graph, cut: Cut, keep: npt.NDArray[np.bool_]) -> None:
        """Put  Gather(weight, kept channels)  before one reader of a constant."""
        source = cut.node.inputs[cut.operand]
        assert source is not None
        kept = np.flatnonzero(np.repeat(keep, cut.repeat))
        wish = f"{str(source.name).removesuffix('.kept')}.kept"
        selected = ir.Value(name=fresh_name(graph, wish), type=source.type)
        indices = constant(graph, f"{wish}.channels", kept.astype(np.int64))
        gather = ir.node("Gather", [source, indices], {"axis": cut.axis}, outputs=[selected])
        graph.insert_before(cut.node, gather)
        cut.node.replace_input_with(cut.operand, selected)
