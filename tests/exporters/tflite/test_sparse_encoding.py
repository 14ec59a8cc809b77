"""The sparse encoding is lossless, small, and read by the runtime as we wrote it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tflite_models import fully_connected, sparse_weight

from elsa_edge.exporters.tflite.densify import encode_weights
from elsa_edge.exporters.tflite.interpreter import Interpreter
from elsa_edge.exporters.tflite.sparse_encoding import decode, encode, smallest

weights = st.builds(
    sparse_weight,
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(lambda dims: (*dims, 8)),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    seed=st.integers(0, 99),
)


@given(weights, st.sampled_from(["csr", "block4"]))
def test_decoding_returns_the_weight(weight, layout):
    """Every shape and density survives, also a weight without any nonzero and one without any zero."""
    assert np.array_equal(decode(encode(weight, layout)), weight)


@given(weights)
def test_the_smallest_encoding_is_smaller_than_dense_or_absent(weight):
    """A weight is never made larger, and a sparse one of some size is made smaller."""
    coded = smallest(weight)

    if coded is None:
        assert min(encode(weight, layout).size_bytes for layout in ("csr", "block4")) >= weight.nbytes
    else:
        assert coded.size_bytes < weight.nbytes
        assert np.array_equal(decode(coded), weight)


@pytest.mark.parametrize(("columns", "bytes_an_index"), [(256, 1), (257, 2), (70_000, 4)])
def test_indices_take_as_few_bytes_as_hold_them(columns, bytes_an_index):
    """The last column decides how wide the column indices are."""
    weight = np.zeros((2, columns), np.float32)
    weight[1, -1] = 1.0

    coded = encode(weight, "csr")

    assert coded.size_bytes == 4 + 3 * 1 + bytes_an_index


def test_blocks_need_a_multiple_of_four_columns():
    """Asking for blocks elsewhere is a programming error."""
    with pytest.raises(ValueError, match="four"):
        encode(np.ones((2, 6), np.float32), "block4")


@settings(max_examples=15)
@given(
    st.integers(1, 40).map(lambda rows: rows * 3),
    st.sampled_from([8, 300]),
    st.sampled_from([0.0, 0.1, 0.4]),
    st.sampled_from([1, 4]),
)
def test_the_runtime_unpacks_what_was_written(rows, columns, density, block):
    """DENSIFY gives the runtime the very numbers of the dense model."""
    weight = sparse_weight((rows, columns), density, seed=rows, block=block)
    x = np.random.default_rng(1).standard_normal((1, columns)).astype(np.float32)
    model = fully_connected([weight])
    expected = Interpreter(model.to_bytes()).run({"x": x})["y"]

    encode_weights(model)

    assert np.array_equal(Interpreter(model.to_bytes()).run({"x": x})["y"], expected)
