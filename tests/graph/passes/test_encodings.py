"""Gap-coded zeros and packed indices: exact, and only where they are smaller."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elsa_edge.graph.oracle import run_model
from elsa_edge.graph.passes.encode_zeros import EncodeZeros, encoded_bytes, gaps_and_values
from elsa_edge.graph.passes.pack_index import bits_needed, decode_nodes, pack
from elsa_edge.levels import NEVER

sparse_arrays = st.tuples(st.integers(1, 3000), st.floats(0, 0.05), st.integers(0, 2**32 - 1)).map(
    lambda case: np.where(
        np.random.default_rng(case[2]).random(case[0]) < case[1],
        np.random.default_rng(case[2]).normal(size=case[0]),
        0,
    ).astype(np.float32)
)


def decoded(gaps, values, size):
    flat = np.zeros(size, values.dtype)
    flat[np.cumsum(gaps.astype(np.int64))] = values
    return flat


@given(sparse_arrays, st.sampled_from([np.uint8, np.uint16]))
def test_gaps_and_values_bring_back_the_bits(flat, gap_type):
    """Long gaps are bridged; every number comes back as it was."""
    gaps, values = gaps_and_values(flat, gap_type)
    assert gaps.dtype == gap_type
    assert gaps.size == values.size
    assert decoded(gaps, values, flat.size).tobytes() == flat.tobytes()


@pytest.mark.parametrize("first", [0, 254, 255, 256, 510, 511])
def test_gaps_around_the_limit_of_a_byte(first):
    """The split of a long gap is right at its borders."""
    flat = np.zeros(600, np.float32)
    flat[[first, 599]] = 1.0, -2.0
    gaps, values = gaps_and_values(flat, np.uint8)
    assert decoded(gaps, values, 600).tolist() == flat.tolist()


def test_five_bytes_a_nonzero():
    """At 10 % a weight takes an eighth of its dense size."""
    flat = np.zeros(100_000, np.float32)
    flat[np.random.default_rng(0).choice(100_000, 10_000, replace=False)] = 1.0
    size, kind = encoded_bytes(flat)
    assert kind is np.uint8
    assert size / flat.nbytes == pytest.approx(0.125, rel=0.01)


def graph_of(weight):
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[N, 40] x) => (float[N, 50] y) { y = MatMul(x, w) }'
    )
    value = next(iter(model.graph)).inputs[1]
    value.const_value = ir.tensor(weight, name="w")
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(weight.shape)
    model.graph.register_initializer(value)
    return model


@pytest.mark.parametrize(("density", "expected"), [(0.0, True), (0.3, True), (0.9, False)])
def test_a_constant_is_encoded_where_it_gets_smaller(density, expected):
    """ONNX Runtime decodes the exact weight; dense weights are left as they are."""
    generator = np.random.default_rng(0)
    weight = np.where(generator.random((40, 50)) < density, generator.normal(size=(40, 50)), 0).astype(
        np.float32
    )
    model = graph_of(weight)
    assert EncodeZeros()(model).modified == expected
    stored = sum(v.const_value.nbytes for v in model.graph.initializers.values())
    assert (stored < weight.nbytes) == expected
    assert run_model(model, {"x": np.eye(40, dtype=np.float32)})["y"].tobytes() == weight.tobytes()


@given(
    st.integers(1, 20).flatmap(
        lambda levels: st.tuples(
            st.just(levels),
            hnp.arrays(np.uint8, st.integers(1, 50), elements=st.sampled_from([*range(levels), NEVER])),
        )
    )
)
def test_packed_codes_come_back(case):
    """The decoding nodes give the codes; "at no level" is above every level."""
    levels, index = case
    codes, _ = codes_of(index, levels)
    np.testing.assert_array_equal(codes, np.minimum(index, levels))


@given(st.integers(1, 20), st.floats(0, 0.2), st.sampled_from([4_000, 9_001]), st.integers(0, 2**32 - 1))
def test_codes_that_are_nearly_all_alike_come_back_from_fewer_bytes(levels, share, size, seed):
    """Gaps of any length, runs without a gap; never more bytes than bits for every weight take."""
    random = np.random.default_rng(seed)
    usual = random.integers(0, levels + 1)
    index = np.where(random.random(size) < share, random.integers(0, levels + 1, size), usual).astype(
        np.uint8
    )
    index[: random.integers(0, 600)] = usual
    codes, stored_bytes = codes_of(index, levels)
    np.testing.assert_array_equal(codes, index)
    packed, _ = pack(index, levels)
    assert stored_bytes <= packed.nbytes + 32
    if levels >= 3 and share < 0.05 and packed.nbytes > 2000:
        assert stored_bytes < 0.6 * packed.nbytes + 600


def codes_of(index, levels):
    """Return what ONNX Runtime decodes, and the bytes of the constants."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20}, name="g")
    flat, nodes = decode_nodes(graph, "w", index, levels)
    graph.extend(nodes)
    stored_bytes = sum(v.const_value.nbytes for v in graph.initializers.values() if v.name.startswith("w"))
    out = ir.node("Cast", [flat], {"to": int(ir.DataType.FLOAT)})
    out.outputs[0].name = "y"
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([index.size]))
    graph.inputs.append(x)
    total = ir.node("Add", [out.outputs[0], x])
    total.outputs[0].name = "z"
    graph.extend([out, total])
    graph.outputs.append(total.outputs[0])
    found = run_model(ir.Model(graph, ir_version=10), {"x": np.zeros(index.size, np.float32)})["z"]
    return found.astype(np.uint8), stored_bytes


def test_bits():
    """The fewest bits that divide a byte."""
    assert [bits_needed(n) for n in (1, 2, 3, 4, 5, 16, 17, 256)] == [1, 1, 2, 2, 4, 4, 8, 8]
    packed, bits = pack(np.array([0, 1, 2, NEVER, 1], np.uint8), 3)
    assert (packed.tolist(), bits) == ([0b11_10_01_00, 0b01], 2)
