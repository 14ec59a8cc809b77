"""Tidying removes shape arithmetic and zero states, and nothing that matters."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from elsa_edge.graph.cleaning import tidy
from elsa_edge.graph.oracle import run_model

RANDOM = np.random.default_rng(0)
STATE = "n = Shape <start = 1, end = 2> (x)  sizes = Concat <axis = 0> (one, n, four)  h = Expand ({value}, sizes)"


def make(text: str, **constants: np.ndarray) -> ir.Model:
    """A graph of x (5, batch, 3) -> y; the named values are its constants."""
    model = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[5, batch, 3] x) => (float[A, B, C] y) {{ {text} }}"""
    )
    for node in model.graph:
        for value in node.inputs:
            if value is not None and value.name in constants and value.const_value is None:
                array = constants[value.name]
                value.const_value = ir.tensor(array, name=value.name)
                value.shape, value.type = ir.Shape(array.shape), ir.TensorType(value.const_value.dtype)
                model.graph.register_initializer(value)
    return model


def tidied(model: ir.Model) -> list[str]:
    """Tidy, check at two batch sizes that the numbers are the same, and return the kinds of nodes left."""
    feeds = [{"x": RANDOM.standard_normal((5, batch, 3)).astype(np.float32)} for batch in (1, 4)]
    before = [run_model(model, feed)["y"] for feed in feeds]
    tidy(model)
    for feed, expected in zip(feeds, before, strict=True):
        np.testing.assert_allclose(run_model(model, feed)["y"], expected, rtol=1e-6, atol=1e-6)
    return [node.op_type for node in model.graph]


def recurrent(kind: str, value: str, states: str) -> ir.Model:
    """One cell of hidden size 4 whose states come from `value`, as wide as the batch."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    return make(
        f"{STATE.format(value=value)}  r = {kind} <hidden_size = 4> (x, w, u, , , {states})  y = Squeeze (r, axis)",
        w=RANDOM.standard_normal((1, gates * 4, 3)).astype(np.float32),
        u=RANDOM.standard_normal((1, gates * 4, 4)).astype(np.float32),
        one=np.array([1]),
        four=np.array([4]),
        axis=np.array([1]),
        nought=np.float32(0),
        half=np.float32(0.5),
    )


@pytest.mark.parametrize(("kind", "states"), [("LSTM", "h, h"), ("GRU", "h"), ("RNN", "h")])
def test_zero_states_of_a_cell_are_left_out(kind, states):
    """A state that is zero is the one that a cell starts from anyway; any other stays."""
    assert tidied(recurrent(kind, "nought", states)) == [kind, "Squeeze"]
    assert tidied(recurrent(kind, "half", states)) == ["Shape", "Concat", "Expand", kind, "Squeeze"]


def test_a_reshape_to_sizes_of_its_input_is_a_constant_one():
    """Sizes known at run time only: those that stay in their place are copied, one may be computed."""
    model = make(
        "t = Unsqueeze (x, n3)  s = Shape (t)  a = Slice (s, n0, n1)  b = Slice (s, n1, n2)  c = Slice (s, n2, n3)"
        "  d = Slice (s, n3, n4)  p = Mul (c, d)  q = Reshape (p, open)  sizes = Concat <axis = 0> (a, b, q)"
        "  r = Reshape (t, sizes)  y = Relu (r)",
        open=np.array([-1]),
        **{f"n{n}": np.array([n]) for n in range(5)},
    )
    assert tidied(model) == ["Unsqueeze", "Reshape", "Relu"]
