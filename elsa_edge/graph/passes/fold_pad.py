"""Fold zero padding into the convolutions that read it:

conv(pad(x, p), W, pads=q) = conv(x, W, pads=p + q)

requires  Pad with mode constant, value 0 and constant, not negative amounts on the image's axes only; every reader is a
          Conv with explicit pads
ensures   the Pad is gone, others are left with a reason; outputs are the same numbers
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from elsa_edge.graph.numbers import Numbers
from elsa_edge.graph.passes.refusals import refuse
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["FoldPad"]


class FoldPad(Rewrite):
    """Fold every Pad that only convolutions read."""

    def ensures(self, model: ir.Model) -> None:
        """Refuse a graph in which a Pad is left that nobody was told of."""
        super().ensures(model)
        left = len(_paddings(model))
        if left != self._refused:
            raise ir.passes.PostconditionError(f"FoldPad left {left} and refused {self._refused}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any Pad was folded."""
        paddings = _paddings(model)
        self._refused = 0
        if not paddings:
            return ir.passes.PassResult(model, False)
        numbers = Numbers(model)  # a copy of the whole network
        for node in paddings:
            amounts = _amounts(node, numbers)
            reason = _why_not(node, amounts)
            if reason is not None or amounts is None:
                refuse("fold Pad", node, reason or "")
                self._refused += 1
                continue
            self._fold(model.graph, node, amounts)
        return ir.passes.PassResult(model, self._refused < len(paddings))

    @staticmethod
    def _fold(graph: ir.Graph, node: ir.Node, amounts: Sequence[int]) -> None:
        padded, source = node.outputs[0], node.inputs[0]
        assert source is not None
        for use in padded.uses():
            own = use.node.attributes.get("pads")
            first = own.as_ints() if own is not None else [0] * len(amounts)
            pads = [a + b for a, b in zip(amounts, first, strict=True)]
            use.node.attributes["pads"] = ir.AttrInt64s("pads", pads)
        padded.replace_all_uses_with(source)
        graph.remove(node, safe=True)


def _paddings(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "Pad" and node.domain in ("", "ai.onnx")]


def _why_not(node: ir.Node, amounts: Sequence[int] | None) -> str | None:
    """Return which requirement a Pad does not meet, or None when it can be folded."""
    padded = node.outputs[0]
    if amounts is None:
        return "it does not put a known number of zeros around images"
    if padded.is_graph_output() or not padded.uses():
        return "the padded image is an output of the network"
    if not all(use.idx == 0 and _takes_pads(use.node) for use in padded.uses()):
        return "something else than convolutions reads it"
    return None


def _takes_pads(node: ir.Node) -> bool:
    automatic = node.attributes.get("auto_pad")
    explicit = automatic is None or automatic.as_string() == "NOTSET"
    return node.op_type == "Conv" and node.domain in ("", "ai.onnx") and explicit


def _amounts(node: ir.Node, numbers: Numbers) -> Sequence[int] | None:
    """Return the padding of the axes after the second, begins then ends, or None where it is not plain zeros there."""
    mode = node.attributes.get("mode")
    source = node.inputs[0]
    if (mode is not None and mode.as_string() != "constant") or source is None or source.shape is None:
        return None
    optional = [*node.inputs[1:], None, None, None][:3]
    given = [None if value is None else numbers.get(value) for value in optional]
    if any(value is not None and number is None for value, number in zip(optional, given, strict=True)):
        return None  # decided at run time
    pads, value, axes = given
    if pads is None or (value is not None and np.any(np.asarray(value) != 0)):
        return None
    rank = len(source.shape)
    places = [int(a) % rank for a in np.ravel(axes)] if axes is not None else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for number, place in enumerate(places):
        begins[place], ends[place] = int(pads[number]), int(pads[len(places) + number])
    if any(begins[:2] + ends[:2]) or min(begins + ends) < 0 or rank < 3:
        return None
    return begins[2:] + ends[2:]
