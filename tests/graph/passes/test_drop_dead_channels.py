"""Channels that are exactly zero disappear, and nothing else changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as f

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.oracle import run_canonical, run_model
from elsa_edge.graph.passes.drop_dead_channels import kept_channels
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec, largest_difference


class Chain(nn.Module):
    """Conv, ReLU, conv, flatten, linear: three groups that can shrink, one through a flattened space."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 6, 3, padding=1, stride=2)
        self.c = nn.Linear(6 * 4 * 4, 10)
        self.d = nn.Linear(10, 5)

    def forward(self, x):
        y = f.max_pool2d(torch.relu(self.b(f.relu6(self.a(x)))), 1)
        return self.d(torch.relu(self.c(y.flatten(1))))


class Beside(Chain):
    """The chain, and a way around it: the network goes on where the chain says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Linear(3 * 8 * 8, 5)

    def forward(self, x):
        return super().forward(x) + self.around(x.flatten(1))


class Residual(nn.Module):
    """A depthwise block inside a residual add: the two branches must agree on what goes."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 12, 1)
        self.dw = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.c = nn.Conv2d(12, 8, 1)
        self.d = nn.Linear(8, 5)

    def forward(self, x):
        y = f.silu(self.a(x))
        y = y + self.c(f.hardswish(self.dw(f.hardswish(self.b(y)))))
        return self.d(y.mean((2, 3)))


class Concatenated(nn.Module):
    """A concatenation, which the pass does not cut through."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(3, 4, 1)
        self.c = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        return self.c(torch.cat([torch.relu(self.a(x)), torch.relu(self.b(x))], 1))


def graph_with_dead_rows(model, dead, biases=0.0):
    """Export a model in which the named weights lose output channels at level 0, with their biases set there."""
    torch.manual_seed(0)
    state = {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}
    indices, tables = {}, {}
    for name, array in state.items():
        if array.ndim < 2:
            continue
        indices[name] = np.zeros(array.shape, np.uint8)
        rows = dead.get(name, [])
        indices[name][rows] = 1
        bias = name.replace("weight", "bias")
        table = np.stack([state[bias], state[bias]])
        table[0, rows] = biases
        tables[bias] = table
    ladder = Ladder.from_sparsities([0.5, 0.0])
    checkpoint = NestedCheckpoint(state, indices, tables, ladder)
    return export_canonical(checkpoint, model, [TensorSpec("", (1, 3, 8, 8))])


def smallest(graph, level):
    """Return a level without any dead channel: what is dropped is easier seen in small networks then."""
    return at_level(graph, level, align_channels=1)


def sizes(model):
    return {
        name: tuple(value.const_value.shape)
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and len(value.const_value.shape) >= 2
    }


def assert_same_numbers(graph):
    feed = example_inputs(list(graph.inputs.values()), 3, seed=5)
    for level, expected in enumerate(run_canonical(graph, feed)):
        for found in (run_model(at_level(graph, level), feed), run_model(smallest(graph, level), feed)):
            for name, array in expected.items():
                difference, scale = largest_difference(found[name], array)
                assert difference <= 1e-5 * max(1.0, scale)


def test_a_chain_shrinks():
    """Rows of a layer and columns of the next go together, through pooling and flattening."""
    graph = graph_with_dead_rows(Chain(), {"a.weight": [0, 3, 7], "b.weight": [1], "c.weight": [2, 4]})
    assert_same_numbers(graph)
    found = sorted(sizes(smallest(graph, 0)).values())
    assert found == sorted([(5, 3, 3, 3), (5, 5, 3, 3), (8, 80), (5, 8)])


def test_the_dense_level_is_not_touched():
    """Where nothing is dead, nothing shrinks."""
    graph = graph_with_dead_rows(Chain(), {"a.weight": [0]})
    found = sorted(sizes(smallest(graph, 1)).values())
    assert found == sorted([(8, 3, 3, 3), (6, 8, 3, 3), (10, 96), (5, 10)])


@pytest.mark.parametrize("bias", [0.7, -0.7])
def test_a_dead_channel_that_is_not_zero_stays(bias):
    """A constant 0.7 before zero padding is no zero; a negative one is, behind the ReLU."""
    graph = graph_with_dead_rows(Chain(), {"a.weight": [0, 3]}, biases=bias)
    assert_same_numbers(graph)
    assert ((8, 3, 3, 3) in sizes(smallest(graph, 0)).values()) == (bias > 0)


def test_a_residual_channel_goes_only_when_both_branches_are_dead():
    """Inside the block the depthwise layer shrinks too; at the add both sides must agree."""
    dead = {"a.weight": [1, 2], "c.weight": [2, 3], "b.weight": [5, 6, 7], "dw.weight": [5, 6, 7, 8]}
    graph = graph_with_dead_rows(Residual(), dead)
    assert_same_numbers(graph)
    found = sorted(sizes(smallest(graph, 0)).values())
    # channel 2 leaves the residual group; channels 5..8 leave the block (8 because its depthwise filter is dead)
    assert found == sorted([(7, 3, 3, 3), (8, 7, 1, 1), (8, 1, 3, 3), (7, 8, 1, 1), (5, 7)])


def test_a_concatenation_keeps_its_channels():
    """An operator that the pass does not know sees every channel."""
    graph = graph_with_dead_rows(Concatenated(), {"a.weight": [0, 1]})
    assert_same_numbers(graph)
    assert sorted(sizes(smallest(graph, 0)).values()) == [(4, 3, 1, 1), (4, 3, 1, 1), (5, 8, 1, 1)]


def test_one_channel_stays_when_all_are_dead():
    """A layer without channels is no layer."""
    graph = graph_with_dead_rows(Beside(), {"a.weight": list(range(8))})
    assert_same_numbers(graph)
    assert (1, 3, 3, 3) in sizes(smallest(graph, 0)).values()


@given(living=st.lists(st.booleans(), min_size=1, max_size=70), align=st.sampled_from([1, 2, 4, 8, 16]))
def test_numbers_of_channels_stay_as_divisible_as_they_were(living, align):
    """Every living channel stays, with fewer dead ones than a vector, and only where the number asks for them."""
    living = np.array(living)
    kept = kept_channels(living, align)
    unit = math.gcd(len(living), align)

    assert kept[living].all()
    assert kept.sum() % unit == 0
    assert kept.sum() - living.sum() < unit


def test_a_level_keeps_the_dead_channels_that_its_numbers_need():
    """8 channels of which 3 are dead stay 8, 6 of which 3 are dead become 4: 6 divides by 2 only."""
    graph = graph_with_dead_rows(Chain(), {"a.weight": [0, 3, 7], "b.weight": [0, 1, 2]})
    assert_same_numbers(graph)
    found = sizes(at_level(graph, 0)).values()

    assert (8, 3, 3, 3) in found
    assert (4, 8, 3, 3) in found
