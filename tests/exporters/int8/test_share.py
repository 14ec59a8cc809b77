"""What a variant says about its 8 bits is counted in its layers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from elsa_edge.exporters.int8.share import coded_nodes, eight_bit_share

HEADER = '<ir_version: 10, opset_import: ["" : 20]>'


def _plain() -> ir.Model:
    """A convolution of 8 x 1 weights used 16 times each, and a product of 128 weights used once."""
    model = ir.from_onnx_text(
        f"""{HEADER} g (float[1,1,4,4] x, float[8,1,1,1] w, float[128,1] v) => (float[1,1] y) {{
            a = Conv(x, w)
            f = Flatten(a)
            y = MatMul(f, v)
        }}"""
    )
    for value in list(model.graph.inputs)[1:]:
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(
            np.ones([int(size) for size in value.shape], np.float32), name=value.name
        )
        model.graph.register_initializer(value)
    for node, shape in zip(model.graph, ([1, 8, 4, 4], [1, 128], [1, 1]), strict=True):
        node.name, node.outputs[0].shape = f"{node.op_type}_0", ir.Shape(shape)
    return model


def test_shares_count_weights_and_their_uses():
    """8 of 136 weights, and half of the multiply-adds."""
    assert eight_bit_share(_plain(), {"Conv_0"}) == (round(8 / 136, 4), 0.5)
    assert eight_bit_share(_plain(), {"Conv_0", "MatMul_0"}) == (1.0, 1.0)
    assert eight_bit_share(_plain(), set()) == (0.0, 0.0)


def test_a_node_is_in_8_bits_where_both_operands_come_out_of_codes():
    """A product with a float operand is none."""
    model = ir.from_onnx_text(
        f"""{HEADER} g (uint8[1,4] x, uint8[4,4] w, float[4,4] v, float s) => (float[1,4] y) {{
            a = DequantizeLinear(x, s)
            b = DequantizeLinear(w, s)
            c = MatMul(a, b)
            y = MatMul(c, v)
        }}"""
    )
    for place, node in enumerate(model.graph):
        node.name = f"n{place}"
    assert coded_nodes(model) == {"n2"}
