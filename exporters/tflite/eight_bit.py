"""How much of a TFLite file computes in 8 bits: a file that is called int8 says it, and one without any is none.

weights           numbers in int8 constants / numbers in all constants that are multiplied with
multiply-adds     of operators whose activations and weights are int8 / of all operators that multiply
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from elsa_edge.exporters.tflite.model import NUMPY_TYPES, TfliteModel

__all__ = ["EightBit", "eight_bit"]

_MULTIPLY: Final = frozenset(
    {
        "BATCH_MATMUL", "BIDIRECTIONAL_SEQUENCE_LSTM", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
        "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EightBit:
    """Shares in 8 bits, from 0 to 1.

    Attributes:
        weights: Of the constants that are multiplied with.
        multiply_adds: Of the multiply-adds.
    """

    weights: float
    multiply_adds: float


def eight_bit(model: TfliteModel) -> EightBit:
    """Return the shares of a model."""
    weights, work = [0.0, 0.0], [0.0, 0.0]
    for graph in model.tree.subgraphs:
        for operator in graph.operators:
            name = model.operator_name(operator)
            if name not in _MULTIPLY:
                continue
            tensors = [graph.tensors[int(k)] for k in operator.inputs if int(k) >= 0]
            made = graph.tensors[int(operator.outputs[0])]
            factors = [tensor for tensor in tensors if len(model.shape(tensor)) >= 2]
            constants = [tensor for tensor in factors if _is_constant(model, tensor)]
            for tensor in constants:
                weights[_is_int8(tensor)] += _size(model, tensor)
            work[bool(factors) and all(map(_is_int8, factors))] += _multiply_adds(model, name, factors, made)
    return EightBit(_share(weights), _share(work))


def _is_constant(model: TfliteModel, tensor: Any) -> bool:
    data = model.tree.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _is_int8(tensor: Any) -> bool:
    return bool(NUMPY_TYPES[tensor.type] == "int8")


def _size(model: TfliteModel, tensor: Any) -> float:
    return float(np.prod(model.shape(tensor), dtype=np.float64))


def _multiply_adds(model: TfliteModel, name: str, factors: list[Any], made: Any) -> float:
    """Multiply-adds of an operator: numbers that it makes times the length of the sums behind each."""
    shapes = [model.shape(tensor) for tensor in factors]
    if "LSTM" in name or len(shapes) < 2:
        return sum(float(np.prod(shape, dtype=np.float64)) for shape in shapes[1:])
    one, two = shapes[-2:] if name == "TRANSPOSE_CONV" else shapes[:2]
    results = float(np.prod(model.shape(made), dtype=np.float64))
    if (
        name == "TRANSPOSE_CONV"
    ):  # shapes of weights (out, h, w, in) and input; each input number goes to out*h*w places
        return float(np.prod(two, dtype=np.float64)) * float(np.prod(one[:-1], dtype=np.float64))
    if name == "DEPTHWISE_CONV_2D":
        return results * float(np.prod(two[1:3], dtype=np.float64))
    if name in ("CONV_2D", "CONV_3D"):
        return results * float(np.prod(two[1:], dtype=np.float64))
    return results * float(one[-1])


def _share(sums: list[float]) -> float:
    return sums[1] / sum(sums) if sum(sums) > 0.0 else 0.0
