"""BatchNorm folds into every linear layer before it, with the same numbers."""

from __future__ import annotations

import collections

import numpy as np
import onnx_ir as ir
import pytest

from elsa_edge.graph.cleaning import fold_constants
from elsa_edge.graph.oracle import run_model
from elsa_edge.graph.passes.fold_batch_norm import FoldBatchNorm
from elsa_edge.tensors import largest_difference

BATCH_NORM = "BatchNormalization <epsilon = 0.01> (h, gamma, beta, mean, var)"

LAYERS = {
    "conv": (
        "float[N, 4, 6, 6] x",
        "Conv <pads = [1, 1, 1, 1]> (x, w)",
        (6, 4, 3, 3),
        None,
        "float[N, 6, 6, 6] h",
    ),
    "conv_bias": ("float[N, 4, 6, 6] x", "Conv (x, w, b)", (6, 4, 1, 1), (6,), "float[N, 6, 6, 6] h"),
    "grouped": ("float[N, 4, 6, 6] x", "Conv <group = 2> (x, w)", (6, 2, 1, 1), None, "float[N, 6, 6, 6] h"),
    "conv1d": ("float[N, 4, 6] x", "Conv (x, w, b)", (6, 4, 3), (6,), "float[N, 6, 4] h"),
    "transposed": (
        "float[N, 4, 5, 5] x",
        "ConvTranspose (x, w, b)",
        (4, 6, 2, 2),
        (6,),
        "float[N, 6, 6, 6] h",
    ),
    "transposed_grouped": (
        "float[N, 4, 5, 5] x",
        "ConvTranspose <group = 2> (x, w)",
        (4, 3, 2, 2),
        None,
        "float[N, 6, 6, 6] h",
    ),
    "gemm": ("float[N, 4] x", "Gemm (x, w, b)", (4, 6), (6,), "float[N, 6] h"),
    "gemm_transposed": (
        "float[N, 4] x",
        "Gemm <transB = 1, alpha = 0.5, beta = 3.0> (x, w, b)",
        (6, 4),
        (6,),
        "float[N, 6] h",
    ),
}


def make(layer, extra="", output="BN"):
    """One layer with a BatchNorm behind it, as ONNX text plus random constants."""
    given, call, weight_shape, bias_shape, hidden = LAYERS[layer]
    model = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        g ({given}) => ({hidden.rsplit(" ", 1)[0]} y) {{
            h = {call}
            {output if output != "BN" else "y"} = {BATCH_NORM}
            {extra}
        }}"""
    )
    generator = np.random.default_rng(0)
    constants = {"w": generator.normal(size=weight_shape)}
    if bias_shape:
        constants["b"] = generator.normal(size=bias_shape)
    for name in ("gamma", "beta", "mean"):
        constants[name] = generator.normal(size=6)
    constants["var"] = generator.uniform(0.1, 3, 6)
    constants["w"][np.abs(constants["w"]) < 0.5] = 0
    for name, array in constants.items():
        value = next(v for node in model.graph for v in node.inputs if v is not None and v.name == name)
        value.const_value = ir.tensor(array.astype(np.float32), name=name)
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
        model.graph.register_initializer(value)
    shape = [size if isinstance(size, int) else 3 for size in model.graph.inputs[0].shape]
    return model, {"x": generator.normal(size=shape).astype(np.float32)}


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_same_numbers_without_the_norm(layer):
    """The folded layer computes what layer and BatchNorm computed."""
    model, feed = make(layer)
    expected = run_model(model, feed)
    assert FoldBatchNorm()(model).modified
    fold_constants(model, any_size=True)
    assert collections.Counter(node.op_type for node in model.graph).total() == 1
    found = run_model(model, feed)
    difference, scale = largest_difference(found["y"], expected["y"])
    assert difference <= 1e-5 * max(1.0, scale)


def test_zeros_stay_exactly_zero():
    """Folding scales; it never makes a zero weight nonzero."""
    model, _ = make("conv")
    before = np.asarray(model.graph.initializers["w"].const_value.numpy()) == 0
    FoldBatchNorm()(model)
    fold_constants(model, any_size=True)
    folded = next(
        v for name, v in model.graph.initializers.items() if name.endswith("folded") and len(v.shape) == 4
    )
    np.testing.assert_array_equal(folded.const_value.numpy() == 0, before)


def test_a_layer_that_others_read_is_left_alone():
    """The value before the BatchNorm is needed elsewhere, so it must stay what it is."""
    model, feed = make("conv", extra="y = Add(z, h)", output="z")
    expected = run_model(model, feed)
    assert not FoldBatchNorm()(model).modified
    np.testing.assert_array_equal(run_model(model, feed)["y"], expected["y"])


def test_a_weight_that_two_layers_share_is_not_disturbed():
    """Folding into one of two layers with the same weight leaves the other one's numbers."""
    model, feed = make("conv_bias", extra="h2 = Conv (x, w)\n y = Add(z, h2)", output="z")
    expected = run_model(model, feed)
    assert FoldBatchNorm()(model).modified
    difference, scale = largest_difference(run_model(model, feed)["y"], expected["y"])
    assert difference <= 1e-5 * max(1.0, scale)
