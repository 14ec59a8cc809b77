"""One level as a plain network."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.errors import LevelError
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.oracle import run_canonical, run_model
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.tensors import largest_difference


@pytest.mark.parametrize("fold", [True, False])
def test_every_level_computes_what_the_canonical_graph_computes(any_graph, fold):
    """The whole pass order keeps the numbers, with constants folded now or left to the runtime."""
    feed = example_inputs(list(any_graph.inputs.values()), 3, seed=2)
    for level, expected in enumerate(run_canonical(any_graph, feed)):
        model = at_level(any_graph, level, fold=fold)
        assert LEVEL_INPUT not in [value.name for value in model.graph.inputs]
        found = run_model(model, feed)
        assert list(found) == list(expected)
        for name, array in expected.items():
            difference, scale = largest_difference(found[name], array)
            assert difference <= 1e-5 * max(1.0, scale)


def test_the_plain_network_is_plain(canonical):
    """No mask, table or foldable norm is left: what a runtime sees is an ordinary network."""
    operators = {node.op_type for node in at_level(canonical("conv"), 0).graph}
    assert operators.isdisjoint({"Where", "LessOrEqual", "Gather", "BatchNormalization"})


def test_zeros_of_the_level_are_zeros_of_its_weights(canonical):
    """A pruned weight is exactly zero in the plain network, a kept one is not."""
    graph = canonical("mlp")
    for level in range(len(graph.ladder)):
        model = at_level(graph, level, fold_batch_norm=False, drop_dead_channels=False)
        sizes = {name: graph.index(name) for name in graph.nested}
        weights = [
            v.const_value.numpy() for v in model.graph.initializers.values() if len(v.const_value.shape) == 2
        ]
        active = sum(int((index <= level).sum()) for index in sizes.values())
        assert sum(int(np.count_nonzero(weight)) for weight in weights) == active


def test_the_canonical_graph_is_not_modified(canonical):
    """Rewriting works on a copy."""
    graph = canonical("conv")
    before = [(node.op_type, [v.name for v in node.inputs if v is not None]) for node in graph.model.graph]
    bits = {name: graph.weight(name).tobytes() for name in graph.nested}
    at_level(graph, 0)
    after = [(node.op_type, [v.name for v in node.inputs if v is not None]) for node in graph.model.graph]
    assert before == after
    assert bits == {name: graph.weight(name).tobytes() for name in graph.nested}


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_is_not_there(canonical, level):
    """The ladder is asked before any work is done."""
    with pytest.raises(LevelError):
        at_level(canonical("conv"), level)
