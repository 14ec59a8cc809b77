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
from elsa_edge.graph.passes.refusals import refuse
from elsa_edge.graph.passes.rewrite import Rewrite

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


class DropDeadChannels(Rewrite):
    """Select the living channels of every weight that belongs to a group with dead ones.

    Args:
        align: The largest power of two that a smaller number of channels keeps as a divisor; 1 drops all dead channels.
    """

    def __init__(self, align: int = 1) -> None:
        super().__init__()
        self._align = align

    def requires(self, model: ir.Model) -> None:
        """Refuse an alignment that is no power of two."""
        super().requires(model)
        if self._align < 1 or self._align & (self._align - 1):
            raise ir.passes.PreconditionError(
                f"DropDeadChannels aligns to powers of two, not to {self._align}"
            )

    def ensures(self, model: ir.Model) -> None:
        """Refuse a graph in which layers of one group do not agree on their channels."""
        super().ensures(model)
        for group, kept in self._smaller:
            left = {_channels_left(cut) for cut in group.cuts}
            left |= {node.attributes["group"].as_int() for node in group.depthwise}
            if left - {int(kept.sum())}:
                raise ir.passes.PostconditionError(
                    f"DropDeadChannels left {sorted(left)} channels of {group.values[0].name}, not {kept.sum()}"
                )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any channel was dropped."""
        graph = model.graph
        found = [
            (group, kept_channels(group.living, self._align)) for group in analyse(graph, Numbers(model))
        ]
        for group, _ in found:
            if group.needed_by and group.has_reader and group.zero.any():
                dead = f"{int(group.zero.sum())} dead channels of {group.values[0].name}"
                refuse("drop dead channels", dead, group.needed_by)
        self._smaller = [(group, kept) for group, kept in found if not kept.all()]
        for group, kept in self._smaller:
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
        return ir.passes.PassResult(model, modified=bool(self._smaller))

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


def _channels_left(cut: Cut) -> int:
    """Return how many channels the graph selects for a cut; -1 where it selects nothing.

    A weight of two groups is selected from twice, along its rows and along its columns.
    """
    value = cut.node.inputs[cut.operand]
    gather = value.producer() if value is not None else None
    while gather is not None and gather.op_type == "Gather":
        source, indices = gather.inputs
        if (
            gather.attributes["axis"].as_int() == cut.axis
            and indices is not None
            and indices.const_value is not None
        ):
            return int(indices.const_value.size) // cut.repeat
        gather = source.producer() if source is not None else None
    return -1
