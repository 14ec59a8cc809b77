"""Sparse-encoding a model: smaller, the same numbers, and nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
from support.tflite_models import fully_connected, sparse_weight

from elsa_edge.exporters.tflite.densify import DirectPolicy, encode_weights
from elsa_edge.exporters.tflite.interpreter import Interpreter
from elsa_edge.exporters.tflite.model import TfliteModel

ALWAYS = DirectPolicy(largest_csr_density=1.0, largest_block_density=1.0, smallest_weights=1, largest_rows=99)


def _run(model: TfliteModel, rows: int, columns: int) -> np.ndarray:
    x = np.random.default_rng(3).standard_normal((rows, columns)).astype(np.float32)
    return Interpreter(model.to_bytes()).run({"x": x})["y"]


def _operators(model: TfliteModel) -> list[str]:
    return [model.operator_name(operator) for operator in model.graph.operators]


def test_a_dense_model_is_left_alone():
    """Without zeros nothing is encoded and no operator is added."""
    model = fully_connected([sparse_weight((16, 32), 1.0)])

    report = encode_weights(model)

    assert [line.encoding for line in report] == ["dense"]
    assert _operators(model) == ["FULLY_CONNECTED"]


def test_only_weights_that_get_smaller_are_encoded():
    """The decision is one for each tensor."""
    model = fully_connected([sparse_weight((64, 64), 0.9), sparse_weight((64, 64), 0.05)])
    before = len(model.to_bytes())

    report = encode_weights(model)

    assert [line.encoding for line in report] == ["dense", "csr"]
    assert sorted(_operators(model)) == ["DENSIFY", "FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert len(model.to_bytes()) < 0.7 * before


@pytest.mark.parametrize(("block", "encoding"), [(1, "csr, direct"), (4, "block4, direct")])
@pytest.mark.parametrize("rows", [1, 5])
def test_direct_kernels_compute_what_the_dense_ones_do(block, encoding, rows):
    """FULLY_CONNECTED on a sparse weight is right in both layouts; below version 8 XNNPACK would misread it."""
    layers = [sparse_weight((48, 64), 0.1, 1, block), sparse_weight((12, 48), 0.1, 2, block)]
    expected = _run(fully_connected(layers, rows), rows, 64)
    model = fully_connected(layers, rows)

    report = encode_weights(model, ALWAYS)

    assert [line.encoding for line in report] == [encoding, encoding]
    assert {code.version for code in model.tree.operatorCodes if code.builtinCode == 9} >= {8}
    assert _operators(model) == ["FULLY_CONNECTED"] * 2
    assert np.abs(_run(model, rows, 64) - expected).max() <= 1e-5


def test_direct_kernels_are_chosen_only_where_they_win():
    """Many rows, few zeros or a small weight keep the dense kernel."""
    policy = DirectPolicy()
    large = sparse_weight((512, 512), 0.05)

    assert policy.encoding_for(large, rows=1) is not None
    assert policy.encoding_for(large, rows=16) is None
    assert policy.encoding_for(large[:64, :64], rows=1) is None
    assert policy.encoding_for(sparse_weight((512, 512), 0.3), rows=1) is None
    blocks = policy.encoding_for(sparse_weight((512, 512), 0.15, block=4), rows=1)
    assert blocks is not None
    assert blocks.layout == "block4"


def test_a_weight_with_another_reader_stays_dense():
    """A tensor that an operator without a sparse form reads is not touched."""
    weight = sparse_weight((32, 32), 0.05)
    model = fully_connected([weight, weight])
    first, second = model.graph.operators
    second.inputs = [int(first.inputs[1]), int(second.inputs[1]), -1]  # the weight as an input of rows

    report = encode_weights(model, only=["weight_0"])

    assert report == []


def test_names_choose_which_tensors_are_encoded():
    """`only` limits the pass."""
    model = fully_connected([sparse_weight((64, 64), 0.05), sparse_weight((64, 64), 0.05, 2)])

    report = encode_weights(model, only=["weight_1"])

    assert [line.tensor for line in report] == ["weight_1"]
