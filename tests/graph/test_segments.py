"""A network in segments is the network: at every level, and with a level a segment as the oracle and torch have it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.zoo import ZOO, nested_checkpoint

from elsa_edge.errors import ExportError
from elsa_edge.graph.check import check_contract
from elsa_edge.graph.oracle import open_canonical, run_canonical
from elsa_edge.graph.rerouted import run_rerouted
from elsa_edge.graph.segments import Segments, cut
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.sparsify.prunable import find_prunable
from elsa_edge.tensors import largest_difference
from elsa_edge.training.rerouting import layer_order, rerouted_state


def run_chain(segments: Segments, feed, levels) -> dict[str, np.ndarray]:
    values = dict(feed)
    for graph, level in zip(segments.graphs, levels, strict=True):
        values |= open_canonical(graph)({name: values[name] for name in graph.inputs}, level)
    return {name: values[name] for name in segments.whole.outputs}


def close(found, expected, relative=1e-5) -> None:
    for name, array in expected.items():
        difference, scale = largest_difference(found[name], array)
        assert difference <= relative * max(scale, 1e-6)


@pytest.mark.parametrize("name", ["conv", "recurrent", "transformer", "mlp"])
@pytest.mark.parametrize("count", [2, 3])
def test_segments_compute_what_the_network_computes(canonical, name, count) -> None:
    """At each level; and each segment is a canonical graph of its own, with the densities it really has."""
    graph = canonical(name)
    segments = cut(graph, count)
    feed = example_inputs(list(graph.inputs.values()), 3, seed=4)
    assert len(segments.graphs) == count
    for piece in segments.graphs:
        check_contract(piece)
    for level, expected in enumerate(run_canonical(graph, feed)):
        close(run_chain(segments, feed, [level] * count), expected)
    for shares in zip(*segments.shares(), strict=True):
        assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["conv", "recurrent", "transformer", "mlp"])
def test_a_level_a_segment_is_what_the_oracle_answers(canonical, name) -> None:
    """The oracle runs the whole graph uncut; changing the level at a border changes the answer."""
    graph = canonical(name)
    segments = cut(graph, 3)
    top = len(graph.ladder) - 1
    feed = example_inputs(list(graph.inputs.values()), 2, seed=5)
    vectors = [(top, top, 0), (top, 0, 0), (top, top, top), (0, 0, 0)]
    answers = run_rerouted(segments, feed, vectors)
    for vector, expected in zip(vectors, answers, strict=True):
        close(run_chain(segments, feed, vector), expected)
    whole = run_canonical(graph, feed)
    close(answers[2], whole[top])
    close(answers[3], whole[0])
    output = next(iter(whole[0]))
    assert largest_difference(answers[1][output], whole[top][output])[0] > 0
    assert largest_difference(answers[1][output], whole[0][output])[0] > 0


def test_the_oracle_is_torch_with_a_level_a_layer() -> None:
    """The rerouted oracle answers what torch answers with the weights of each layer's level."""
    from elsa_edge.graph.export import export_canonical

    checkpoint, model = nested_checkpoint(ZOO["mlp"])
    graph = export_canonical(checkpoint, model, ZOO["mlp"].inputs)
    segments = cut(graph, 2)
    order = layer_order(model, find_prunable(model))
    feed = example_inputs(list(graph.inputs.values()), 3, seed=6)
    inside = [any(name in segments.graphs[0].nested for name in group) for group in order]
    levels = [5 if first else 1 for first in inside]
    assert 0 < sum(inside) < len(inside)
    model.load_state_dict(
        {k: torch.from_numpy(np.array(v)) for k, v in rerouted_state(checkpoint, order, levels).items()}
    )
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(feed["x"])).numpy()
    found = run_rerouted(segments, feed, [(5, 1)])[0]
    close(found, dict.fromkeys(found, expected))


def test_a_network_that_cannot_be_cut_says_so(canonical) -> None:
    """Too many segments for its layers, and a ladder of one level."""
    with pytest.raises(ExportError, match=r"expected --reroute up to \d+, found 16"):
        cut(canonical("mlp"), 16)
    with pytest.raises(ExportError, match="network of one level"):
        cut(canonical("two_inputs"), 2)


def test_the_whole_graph_is_not_modified(canonical) -> None:
    """Cutting works on copies."""
    graph = canonical("conv")
    before = [(node.op_type, [v.name for v in node.outputs]) for node in graph.model.graph]
    cut(graph, 2)
    assert before == [(node.op_type, [v.name for v in node.outputs]) for node in graph.model.graph]
