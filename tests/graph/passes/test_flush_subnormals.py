"""Subnormal constants become zero, others keep their bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from elsa_edge.graph.cleaning import fold_constants
from elsa_edge.graph.passes.flush_subnormals import FlushSubnormals

TINY = np.float32(1e-40)


def model_of(text, **constants):
    model = ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : 20]> {text}')
    for name, array in constants.items():
        value = next(v for node in model.graph for v in node.inputs if v is not None and v.name == name)
        value.const_value = ir.tensor(array, name=name)
        value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(array.shape)
        model.graph.register_initializer(value)
    return model


def test_a_constant_is_flushed():
    """Only the subnormal entries change."""
    weight = np.array([1.0, TINY, -TINY, 0.0, np.finfo(np.float32).tiny], np.float32)
    model = model_of("g (float[5] x) => (float[5] y) { y = Mul(x, w) }", w=weight)
    assert FlushSubnormals()(model).modified
    expected = np.array([1.0, 0.0, 0.0, 0.0, np.finfo(np.float32).tiny], np.float32)
    assert model.graph.initializers["w"].const_value.numpy().tobytes() == expected.tobytes()


def test_a_computed_constant_is_flushed_behind():
    """A product that folds to subnormals is flushed where it is used, before and after folding."""
    model = model_of(
        "g (float[2] x) => (float[2] y) { p = Mul(a, b) y = Mul(x, p) }",
        a=np.array([1e-20, 1.0], np.float32),
        b=np.array([1e-20, 2.0], np.float32),
    )
    assert FlushSubnormals()(model).modified
    fold_constants(model, any_size=True)
    (multiply,) = list(model.graph)
    assert multiply.inputs[1].const_value.numpy().tolist() == [0.0, 2.0]


def test_normal_constants_are_not_touched():
    """A pass that has nothing to do says so."""
    model = model_of("g (float[2] x) => (float[2] y) { y = Mul(x, w) }", w=np.array([1.0, 0.0], np.float32))
    before = model.graph.initializers["w"].const_value
    assert not FlushSubnormals()(model).modified
    assert model.graph.initializers["w"].const_value is before
