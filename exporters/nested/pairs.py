"""Find convolutions whose output only a depthwise convolution reads: one kernel computes both.

y = act(depthwise(act(conv(x, W))))        what lies between them stays in the near caches
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from elsa_edge.exporters.nested.layer import Layer

__all__ = ["find_pairs"]


def find_pairs(nodes: Sequence[ir.Node], layers: Iterable[Layer]) -> dict[int, int]:
    """Return position of the convolution -> position of the depthwise one, among `layers`.

    A residual is read by neither: the kernel for both has no place for it.
    """
    layers = list(layers)
    depthwise = {
        nodes[layer.position]: layer.position
        for layer in layers
        if layer.kind == "depthwise" and layer.residual is None
    }
    pairs = {}
    for layer in layers:
        if layer.kind != "conv" or layer.residual is not None:
            continue
        result = nodes[layer.end].outputs[0]
        uses = list(result.uses())
        if len(uses) == 1 and uses[0].idx == 0 and not result.is_graph_output() and uses[0].node in depthwise:
            pairs[layer.position] = depthwise[uses[0].node]
    return pairs
