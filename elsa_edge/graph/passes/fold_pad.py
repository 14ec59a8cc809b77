"""Fold zero padding into the convolutions that read it:

conv(pad(x, p), W, pads=q) = conv(x, W, pads=p + q)

requires  Pad with mode constant, value 0 and constant, not negative amounts on the image's axes only; every reader is a
          Conv with explicit pads
ensures   the Pad is gone; outputs are the same numbers
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from elsa_edge.graph.numbers import Numbers
from elsa_edge.graph.passes.refusals import refuse

__all__ = ["FoldPad"]


class FoldPad(ir.passes.InPlacePass):
    """Fold every Pad that only convolutions read."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any Pad was folded."""
        paddings = [node for node in model.graph if node.op_type == "Pad" and node.domain in ("", "ai.onnx")]
        if not paddings:
            return ir.passes.PassResult(model, False)
        numbers = Numbers(model)  # a copy of the whole network
        modified = False
        for node in paddings:
            amounts = _amounts(node, numbers)
            padded, source = node.outputs[0], node.inputs[0]
            readers = [use.node for use in padded.uses()]
            if amounts is None or source is None:
                refuse("fold Pad", node, "it does not put a known number of zeros around images")
                continue
            if padded.is_graph_output() or not readers:
                refuse("fold Pad", node, "the padded image is an output of the network")
                continue
            if not all(use.idx == 0 and _takes_pads(use.node) for use in padded.uses()):
                refuse("fold Pad", node, "something else than convolutions reads it")
                continue
            for conv in readers:
                own = conv.attributes.get("pads")
                first = own.as_ints() if own is not None else [0] * len(amounts)
                pads = [a + b for a, b in zip(amounts, first, strict=True)]
                conv.attributes["pads"] = ir.AttrInt64s("pads", pads)
            padded.replace_all_uses_with(source)
            model.graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


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
