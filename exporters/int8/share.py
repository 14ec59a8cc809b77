"""How much of a network is computed in 8 bits: a variant that is called int8 says it.

weights          numbers of 8-bit weights / numbers of all weights that are multiplied with
multiply-adds    of the layers that are computed in 8 bits / of all layers with weights, at batch 1
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import onnx_ir as ir

from elsa_edge.graph.flops import multiply_adds_of

__all__ = ["coded_nodes", "eight_bit_share"]

_RECURRENT: Final = frozenset({"LSTM", "GRU"})
_MULTIPLY: Final = _RECURRENT | {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def coded_nodes(model: ir.Model) -> set[str]:
    """Return the names of the nodes whose operands both come out of 8 bits, of a network that a quantiser wrote."""
    return {
        str(node.name)
        for node in model.graph
        if node.op_type in _MULTIPLY and all(_from_codes(value) for value in node.inputs[:2])
    }


def eight_bit_share(plain: ir.Model, eight: Collection[str]) -> tuple[float, float]:
    """Return the shares of the weights and of the multiply-adds in 8 bits, from 0 to 1.

    Args:
        plain: The float network of a level, its shapes known.
        eight: Names of its nodes that are computed in 8 bits.
    """
    weights, work = [0.0, 0.0], [0.0, 0.0]
    for node in plain.graph:
        operand = node.inputs[1] if node.op_type in _MULTIPLY else None
        if operand is None or operand.const_value is None:
            continue
        weights[node.name in eight] += operand.const_value.size
        state = node.inputs[2] if node.op_type in _RECURRENT else None
        if state is not None and state.const_value is not None:
            weights[node.name in eight] += state.const_value.size
        work[node.name in eight] += multiply_adds_of(node)
    return _share(weights), _share(work)


def _from_codes(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _share(parts: list[float]) -> float:
    return round(parts[1] / sum(parts), 4) if sum(parts) else 0.0
