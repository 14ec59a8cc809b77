"""Fold BatchNorm into the layer before it:

a  = gamma / sqrt(variance + epsilon)
W' = a * W               along the output channels; zeros stay exactly zero
b' = a * (b - mean) + beta

requires  Conv, ConvTranspose or Gemm whose only reader is the BatchNorm; constant weight, bias and statistics
ensures   the BatchNorm is gone, others are left with a reason; W' is a product left to constant folding, b' a constant
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.numbers import Numbers
from elsa_edge.graph.passes.refusals import refuse
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["FoldBatchNorm"]

_LAYERS = ("Conv", "ConvTranspose", "Gemm")


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.value


def _scale_for_weight(layer: ir.Node, weight_shape: tuple[int, ...], a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Shape the factors (channels,) so that they multiply a weight along its output channels."""
    rank = len(weight_shape)
    if layer.op_type == "Conv":  # (out, in / group, *kernel)
        return a.reshape(-1, *(1,) * (rank - 1))
    if layer.op_type == "Gemm":  # (out, in) when transB, else (in, out)
        return a.reshape(-1, 1) if _attribute(layer, "transB", 0) else a.reshape(1, -1)
    # ConvTranspose: (in, out / group, *kernel), channel o belongs to group o // (out / group)
    group = _attribute(layer, "group", 1)
    rows = np.repeat(a.reshape(group, -1), weight_shape[0] // group, axis=0)  # (in, out / group)
    return rows.reshape(*rows.shape, *(1,) * (rank - 2))


class FoldBatchNorm(Rewrite):
    """Fold every BatchNorm that follows a linear layer."""

    def ensures(self, model: ir.Model) -> None:
        """Refuse a graph in which a BatchNorm is left that nobody was told of."""
        super().ensures(model)
        left = sum(node.op_type == "BatchNormalization" for node in model.graph)
        if left != self._refused:
            raise ir.passes.PostconditionError(f"FoldBatchNorm left {left} and refused {self._refused}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any BatchNorm was folded."""
        numbers = Numbers(model)
        modified = False
        self._refused = 0
        for norm in list(model.graph):
            if norm.op_type != "BatchNormalization":
                continue
            reason = self._why_not(norm, numbers)
            if reason is None:
                self._fold(model.graph, norm, numbers)
                modified = True
            else:
                self._refused += 1
                refuse("fold BatchNorm", norm, reason)
        return ir.passes.PassResult(model, modified)

    @staticmethod
    def _why_not(norm: ir.Node, numbers: Numbers) -> str | None:
        """Return which requirement a BatchNorm does not meet, or None when it can be folded."""
        layer = norm.inputs[0].producer() if norm.inputs[0] is not None else None
        if layer is None or layer.op_type not in _LAYERS or layer.domain not in ("", "ai.onnx"):
            before = "an input" if layer is None else layer.op_type
            return f"it follows {before}, not one of {', '.join(sorted(_LAYERS))}"
        if len(layer.outputs[0].uses()) != 1 or layer.outputs[0].is_graph_output():
            return f"others read what {layer.name} computes before it"
        if any(output.uses() or output.is_graph_output() for output in norm.outputs[1:]):
            return "its statistics are read"
        bias = layer.inputs[2] if len(layer.inputs) > 2 else None
        constants = [layer.inputs[1], *norm.inputs[1:5], *([bias] if bias is not None else [])]
        if any(numbers.get(value) is None for value in constants):
            return "its numbers, or those of the layer before, are computed while the network runs"
        return None

    @staticmethod
    def _fold(graph: ir.Graph, norm: ir.Node, numbers: Numbers) -> None:
        source = norm.inputs[0]
        layer = source.producer() if source is not None else None
        weight = layer.inputs[1] if layer is not None else None
        assert layer is not None and weight is not None  # noqa: PT018 - one fact: `_why_not` said so
        gamma, beta, mean, variance = (
            np.asarray(numbers.get(value), np.float64) for value in norm.inputs[1:5]
        )
        a = gamma / np.sqrt(variance + _attribute(norm, "epsilon", 1e-5))
        weight_numbers = np.asarray(numbers.get(weight))
        bias_input = layer.inputs[2] if len(layer.inputs) > 2 else None
        bias_numbers = numbers.get(bias_input)
        bias = (
            np.zeros_like(a)
            if bias_numbers is None
            else bias_numbers.astype(np.float64) * _attribute(layer, "beta", 1.0)
        )
        stem = str(weight.name).removesuffix(".masked").removesuffix(".weight")

        factors = _scale_for_weight(layer, weight_numbers.shape, a).astype(weight_numbers.dtype)
        scaled = ir.Value(
            name=fresh_name(graph, f"{stem}.weight.folded"),
            shape=ir.Shape(weight_numbers.shape),
            type=weight.type,
        )
        multiply = ir.node("Mul", [weight, constant(graph, f"{stem}.norm_scale", factors)], outputs=[scaled])
        graph.insert_before(layer, multiply)
        folded_bias = (a * (bias - mean) + beta).astype(weight_numbers.dtype)
        layer.resize_inputs(3)
        layer.replace_input_with(1, scaled)
        layer.replace_input_with(2, constant(graph, f"{stem}.bias.folded", folded_bias))
        if layer.op_type == "Gemm" and "beta" in layer.attributes:
            layer.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
        layer.outputs[0].shape, layer.outputs[0].type = norm.outputs[0].shape, norm.outputs[0].type
        name = norm.outputs[0].name
        norm.outputs[0].replace_all_uses_with(layer.outputs[0], replace_graph_outputs=True)
        graph.remove(norm, safe=True)
        layer.outputs[0].name = name
