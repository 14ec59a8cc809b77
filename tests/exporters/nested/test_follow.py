"""What a kernel computes beside the sum is found without changing anything, and stops where a kernel must stop."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from elsa_edge.exporters.nested.follow import Followed, follow
from elsa_edge.exporters.nested.networks import Networks
from elsa_edge.nested_format.activations import Activation, ActivationKind

HEAD = """<ir_version: 10, opset_import: ["" : 20]>
net (float[1,2,4,4] x, float[1,2,4,4] other) => (float[1,2,4,4] y)
<float[2,2,1,1] W = {1,0,0,1}, float[2] scale = {2,3}, float[2] shift = {1,1}, float[2] mean = {1,2},
 float[2] variance = {1,4}, float[1,2,1,1] bias = {5,6}, float low = {-1}, float high = {4}>
"""
NORM = "n = BatchNormalization <epsilon: float = 0.0> (c, scale, shift, mean, variance)"


def networks(body: str, count: int = 2) -> Networks:
    models = [
        ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(HEAD + body)))
        for _ in range(count)
    ]
    return Networks(models)


def start(levels: int = 2) -> Followed:
    table = np.zeros((levels, 2, 2))
    table[:, 0] = 1.0
    return Followed(0, table)


@pytest.mark.parametrize(
    ("body", "absorbed", "residual", "activation"),
    [
        (f"{{ c = Conv (x, W) {NORM} y = Relu (n) }}", (1, 2), None, Activation.clip(0.0, float("inf"))),
        ("{ c = Conv (x, W) a = Add (bias, c) y = Clip (a, low, high) }", (1, 2), None, Activation.clip(-1.0, 4.0)),
        ("{ c = Conv (x, W) o = Relu (other) a = Add (o, c) y = HardSwish (a) }", (2, 3), (2, 0),
         Activation(ActivationKind.HARD_SWISH)),
        ("{ c = Conv (x, W) s = Sigmoid (c) y = Mul (c, s) }", (1, 2), None, Activation(ActivationKind.SILU)),
        ("{ c = Conv (x, W) s = HardSigmoid (c) y = Mul (c, s) }", (), None, Activation()),
        ("{ c = Conv (x, W) a = Add (c, other) y = Relu (a) }", (), None, Activation()),
        ("{ c = Conv (x, W) r = Relu (c) t = Tanh (c) y = Add (r, t) }", (), None, Activation()),
    ],
    ids=["norm", "bias", "residual", "gate", "gate of another slope", "residual from outside", "two readers"],
)  # fmt: skip
def test_what_follows_is_taken_up_to_where_a_kernel_must_stop(body, absorbed, residual, activation):
    """Constants, BatchNorm, one residual whose size is certain, one activation; nothing that others read too."""
    found = follow(start(), networks(body), frozenset(), image=True)

    assert (found.absorbed, found.residual, found.activation) == (absorbed, residual, activation)
    assert found.end == (absorbed[-1] if absorbed else 0)


def test_constants_become_scale_and_bias():
    """(sum + bias - mean) / sqrt(variance) * scale + shift, in this order, at every level."""
    body = f"{{ a0 = Conv (x, W) c = Add (a0, bias) {NORM} y = Identity (n) }}"
    found = follow(start(), networks(body), frozenset(), image=True)

    assert found.table[:, 0].tolist() == [[2.0, 1.5]] * 2
    assert found.table[:, 1].tolist() == [[(5 - 1) * 2 + 1, (6 - 2) * 1.5 + 1]] * 2


def test_following_changes_nothing():
    """Neither the table that it is given nor the networks: twice gives the same twice."""
    nets, begun = networks(f"{{ c = Conv (x, W) {NORM} y = Relu (n) }}"), start()
    before = begun.table.copy()
    first, second = (follow(begun, nets, frozenset(), image=True) for _ in range(2))

    assert np.array_equal(begun.table, before)
    assert np.array_equal(first.table, second.table)
    assert (first.end, first.absorbed, first.activation) == (second.end, second.absorbed, second.activation)
    assert not np.array_equal(first.table, before)


def test_what_belongs_to_another_layer_is_left_to_it():
    """An addition of two convolutions is the residual of one of them only."""
    nets = networks("{ c = Conv (x, W) o = Relu (other) a = Add (o, c) y = Relu (a) }")

    assert follow(start(), nets, {2}, image=True).absorbed == ()
