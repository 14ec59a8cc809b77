"""Layers that cost the answers stay in float32: the ends first, then those that were measured to cost most."""

from __future__ import annotations

import itertools

import pytest
import torch
from support.eight_bits import samples
from torch import nn

from elsa_edge.exporters.int8 import settle as module
from elsa_edge.exporters.int8.judge import Judgement
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

_LOUD = 4


@pytest.fixture(scope="module")
def loud():
    """Ten convolutions; one makes a channel three hundred times as large as the others, and the next takes it back."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(10)]
    with torch.no_grad():
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)  # or the noise of one dies out in the next
        layers[_LOUD].weight[0] *= 300.0
        layers[_LOUD + 1].weight[:, 0] /= 300.0
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())]).eval()
    return export_canonical(
        sparsify(model, [0.5, 0.0], granularity="1x4"), model, [TensorSpec("", (1, 8, 9, 9))]
    )


def settled(graph, good):
    feed = samples(graph)
    plan = Plan8(graph, feed)
    order = [layer.name for _, layer in sorted(plan.layers.items())]
    return module.settle(plan, feed, good), plan, order


def test_where_the_answers_stay_so_does_every_layer(loud) -> None:
    recipe, plan, order = settled(loud, lambda _: True)

    assert recipe == "everything"
    assert len(plan.layers) == len(order) == 10
    assert plan.refused == {}


def test_the_layers_that_cost_most_are_found_by_measuring(loud) -> None:
    """The one that makes the loud channel and the one that reads it: the value between them has no good step."""
    seen = []

    def good(one: Judgement) -> bool:
        seen.append(one.difference)
        return one.difference < 0.5

    recipe, plan, order = settled(loud, good)

    assert recipe == "inner layers without the 2 that cost most"
    ends, measured = {order[0], order[-1]}, {order[_LOUD], order[_LOUD + 1]}
    assert plan.refused.keys() == ends | measured
    assert all("of the answers stayed the same" in plan.refused[name] for name in ends)
    assert all("in 8 bits it alone moves the outputs by" in plan.refused[name] for name in measured)
    assert min(seen[:-2]) > 0.5 > max(seen[-2:])


def test_products_that_hand_codes_to_each_other_are_measured_one_by_one() -> None:
    """In a chain of matrices no number is a float in between; the costly ones are found all the same."""
    torch.manual_seed(0)
    layers = [nn.Linear(32, 32, bias=False) for _ in range(12)]
    with torch.no_grad():
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)
        layers[_LOUD].weight[0] *= 300.0
        layers[_LOUD + 1].weight[:, 0] /= 300.0
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())]).eval()
    graph = export_canonical(sparsify(model, [0.5, 0.0], granularity="1x4"), model, [TensorSpec("", (1, 32))])

    recipe, plan, order = settled(graph, lambda one: one.difference < 0.05)

    assert recipe == "inner layers without the 1 that cost most"
    (measured,) = plan.refused.keys() - {order[0], order[-1]}
    assert measured in (order[_LOUD], order[_LOUD + 1])


def test_a_quarter_is_left_out_at_most(loud) -> None:
    """A network that needs more is not one for 8 bits: what is left is judged and refused by the build."""
    recipe, plan, _ = settled(loud, lambda _: False)

    assert recipe == "inner layers without the 2 that cost most"
    assert len(plan.layers) == 10 - 2 - 2


@pytest.mark.parametrize(("count", "groups"), [(3, 3), (32, 32), (33, 17), (100, 25)])
def test_neighbours_are_measured_together_where_there_are_many(count, groups) -> None:
    found = module._groups(range(count))

    assert len(found) == groups
    assert frozenset().union(*found) == frozenset(range(count))
    assert all(max(a) < min(b) for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("most", "counts"), [(0, []), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8])]
)
def test_more_are_left_out_each_time_up_to_the_most(most, counts) -> None:
    assert module._doubling(most) == counts
