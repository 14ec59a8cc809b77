"""What a program asks of an export: brought into one form, or refused in a sentence before anything is traced."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from elsa_edge.errors import InputError, UnknownNameError, UsageError
from elsa_edge.graph.asked import checked_inputs
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        (TensorSpec("x", (1, 4)), ()),
        (TensorSpec("x", (None, 4)), ("batch", None)),
        (TensorSpec("x", (1, None, 4)), (None, "batch", None)),
        (TensorSpec("x", (None, 3, None, None)), ("batch", None, "x_2", "x_3")),
        (TensorSpec("x", (None, None, 4), sizes=("batch", None, None)), ("batch", "x_1", None)),
        (TensorSpec("x", (None, None), sizes=(None, "S")), ("x_0", "S")),
        (TensorSpec("", (None, None)), ("batch", "size_1")),
        (TensorSpec("x", (1, 4), sizes=(None, None)), ()),
        (TensorSpec("x", ()), ()),
    ],
)
def test_a_free_size_without_a_name_gets_one(spec, sizes):
    """The first is the batch where the input names none; no number becomes free."""
    (made,) = checked_inputs([spec])
    assert made.sizes == sizes
    assert made.shape == spec.shape


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("x=1x4", "list of TensorSpec"),
        ([("x", (1, 4))], "list of TensorSpec"),
        ([TensorSpec("x", (1, 4)), TensorSpec("x", (1, 4))], "same name"),
        ([TensorSpec("x", (0, 4))], "no size"),
        ([TensorSpec("x", (True, 4))], "no size"),
        ([TensorSpec("x", (None, 4), sizes=("batch",))], "names other sizes"),
        ([TensorSpec("x", (None, None), sizes=("S", "S"))], "appears twice"),
    ],
)
def test_what_is_no_input_is_refused(inputs, words):
    """Each in its own words."""
    with pytest.raises(UsageError, match=words):
        checked_inputs(inputs)


def test_a_type_is_one_of_the_list():
    """With the nearest name."""
    with pytest.raises(UnknownNameError, match="Nearest: 'float32'"):
        checked_inputs([TensorSpec("x", (1, 4), "flaot32")])


@pytest.fixture(scope="module")
def network():
    """A small one, and two levels of it."""
    model = nn.Linear(4, 3).eval()
    return model, sparsify(model, [0.5, 0.0])


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"batch": 0}, UsageError, "at least 1"),
        ({"batch": True}, UsageError, "no such size"),
        ({"sizes": {"S": []}}, UsageError, "'S' needs numbers"),
        ({"sizes": {"S": 5}}, UsageError, "'S' needs numbers"),
        ({"sizes": {"S": [1]}}, UsageError, "at least 2"),
        ({"examples": np.ones((2, 4))}, InputError, "by name"),
        ({"examples": {"input": [[1.0, 2.0, 3.0, 4.0]]}}, InputError, "wrong type"),
        ({"outputs": "nowhere"}, UnknownNameError, "'nowhere'"),
    ],
)
def test_options_that_say_nothing_possible_are_refused(network, options, kind, words):
    """Before the network is traced."""
    model, nested = network
    with pytest.raises(kind, match=words):
        export_canonical(nested, model, [TensorSpec("input", (1, 4))], **options)


def test_a_shape_with_none_is_exported_with_a_free_batch(network):
    """As programs write it."""
    model, nested = network
    graph = export_canonical(nested, model, [TensorSpec("input", (None, 4))])
    assert graph.inputs["input"].sizes == ("batch", None)
