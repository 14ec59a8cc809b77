"""Scores, allocations and patterns come together exactly: budgets, nesting, published figures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elsa_edge.errors import LevelError, UnknownNameError, UsageError
from elsa_edge.sparsify.allocation import (
    ALLOCATIONS,
    Layer,
    _pool_of_equal_units,
    _pool_of_unequal_units,
    allocation_named,
    erk_densities,
    uniform,
)
from elsa_edge.sparsify.patterns import Block, Channel, NofM, Unstructured, parse_pattern
from elsa_edge.sparsify.prunable import Prunable
from elsa_edge.sparsify.selection import budget_of, keep_highest, select

SHAPES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4)


def linears(shapes):
    return [
        Prunable(f"l{i}.weight", tuple(shape), "linear", module=f"l{i}") for i, shape in enumerate(shapes)
    ]


def scores_of(weights, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {w.name: torch.rand(w.shape, generator=generator) for w in weights}


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(sorted(ALLOCATIONS)), st.lists(st.floats(0.3, 1.0), min_size=2, max_size=4))
def test_levels_nest_and_keep_exactly_the_budget(shapes, allocation, densities):
    """Any allocation keeps round(d * N) single weights at each level, and each level holds the sparser one."""
    weights = linears(shapes)
    scores = scores_of(weights)
    before = None
    for density in sorted(densities):
        if budget_of(weights, density) < len(weights):
            continue
        masks = select(
            weights,
            scores,
            density,
            allocation=ALLOCATIONS[allocation],
            pattern=Unstructured(),
            frozen=before,
        )
        assert sum(int(m.sum()) for m in masks.values()) == budget_of(weights, density)
        assert all(m.any() for m in masks.values())
        if before is not None:
            assert all(bool((masks[n] | ~before[n]).all()) for n in masks)
        before = masks


@example([[6, 5, 4, 3, 2, 1]], 4, 11)  # 2.75 units: three come nearer than the two
@example([[6, 5, 4, 3, 2, 1]], 4, 15)  # 3.75: four, from an odd number
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=12), min_size=1, max_size=4),
    st.sampled_from([1, 4]),
    st.integers(0, 200),
)
def test_the_pool_of_equal_units_is_what_ordering_it_gives(rows, size, budget):
    """Ties, floors and the unit more that comes nearer to the budget included."""
    layers = [
        Layer(
            f"l{i}",
            (len(row),),
            torch.tensor(row, dtype=torch.float32),
            torch.full((len(row),), size),
            frozen_units=min(i, len(row)),
        )
        for i, row in enumerate(rows)
    ]
    assert _pool_of_equal_units(layers, budget, size) == _pool_of_unequal_units(layers, budget)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from(["conv", "conv_transpose"]),
    st.sampled_from([Block(), Channel(), Block(2), Block(1, 4), Block(4, 4), Block(2, 3), NofM(2)]),
)
def test_patterns_turn_units_into_masks_and_back(groups, outputs, inputs, kind, pattern):
    """Choosing units gives a mask with exactly the weights of those units, whatever layout the layer has."""
    inputs = 2 * inputs if isinstance(pattern, NofM) else inputs
    shape = (groups * outputs, inputs, 3) if kind == "conv" else (groups * inputs, outputs, 3)
    weight = Prunable("w", shape, kind, groups)
    sizes = pattern.unit_sizes(weight)
    assert int(sizes.sum()) == weight.size
    for unit in range(len(sizes)):
        chosen = torch.zeros(len(sizes), dtype=torch.bool)
        chosen[unit] = True
        mask = pattern.from_units(weight, chosen)
        assert tuple(mask.shape) == shape
        assert int(mask.sum()) == int(sizes[unit])
        assert torch.equal(pattern.to_units(weight, mask.float()) > 0, chosen)


def test_uniform_gives_every_layer_the_same_share():
    """What rounding leaves goes to the next layer, the whole is the budget."""
    layers = [
        Layer(f"l{k}", (n,), torch.arange(float(n)), torch.ones(n, dtype=torch.int64))
        for k, n in enumerate((40, 10, 50))
    ]
    assert uniform(layers, 50) == [20, 5, 25]
    assert uniform(layers, 33) == [13, 4, 16]


def test_blocks_are_four_by_one_unless_said_and_cross_groups_that_are_too_low():
    """A group of fewer outputs than a block has (a depthwise layer) is stored as one; a group of as many is not."""
    assert Block().name == "4x1"
    low = Prunable("w", (8, 1, 3, 3), "conv", 8)
    assert Block(4).unit_sizes(low).tolist() == [4] * 18
    high = Prunable("w", (12, 2, 1, 1), "conv", 2)
    assert Block(4).unit_sizes(high).tolist() == [4, 4, 2, 2] * 2
    transposed = Prunable("w", (8, 1, 1, 1), "conv_transpose", 8)
    assert Block(4).unit_sizes(transposed).tolist() == [1] * 8


def test_rows_of_a_grouped_transposed_convolution_are_its_output_channels():
    """Zeroing row r of the row form silences exactly output channel r."""
    layer = torch.nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False)
    weight = Prunable("weight", tuple(layer.weight.shape), "conv_transpose", 2)
    rows = weight.rows(layer.weight.detach()).clone()
    assert torch.equal(weight.from_rows(rows), layer.weight)
    rows[4] = 0
    with torch.no_grad():
        layer.weight.copy_(weight.from_rows(rows))
    silent = layer(torch.randn(1, 4, 5, 5)).abs().sum((0, 2, 3)) == 0
    assert silent.tolist() == [False] * 4 + [True, False]


def test_erk_has_the_densities_of_its_reference():
    """LeNet-300-100 at 90 % sparsity: the figures of the original implementation."""
    shapes = [(300, 784), (100, 300), (10, 100)]
    total = sum(a * b for a, b in shapes)
    sparsities = [1 - d for d in erk_densities(shapes, 0.1 * total)]
    assert sparsities == pytest.approx([0.92043, 0.76981, 0.0], abs=2e-5)


def test_keep_highest_breaks_ties_by_position():
    """Of equal scores the first ones are kept, so a result never depends on the sorting algorithm."""
    scores = torch.tensor([1.0, 2.0, 1.0, 1.0, torch.inf])
    assert keep_highest(scores, 3).tolist() == [True, True, False, False, True]
    assert keep_highest(scores, 0).sum() == 0
    assert keep_highest(scores, 9).all()


def test_of_many_ties_only_the_missing_ones_are_kept():
    """One above, three of five equal ones."""
    assert keep_highest(torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]), 4).tolist() == [True] * 4 + [False] * 2


def test_n_of_m_nests_inside_each_group():
    """1:4 lies in 2:4: every group of four consecutive inputs holds exactly N."""
    weight = Prunable("w", (8, 8, 3, 3), "conv")
    scores = {"w": torch.rand(weight.shape)}
    one = select([weight], scores, 0.25, allocation=ALLOCATIONS["uniform"], pattern=NofM(4))
    other = {"w": torch.rand(weight.shape)}
    two = select([weight], other, 0.5, allocation=ALLOCATIONS["uniform"], pattern=NofM(4), frozen=one)
    groups = two["w"].permute(0, 2, 3, 1).reshape(-1, 4)
    assert (groups.sum(1) == 2).all()
    assert (two["w"] | ~one["w"]).all()


def test_ladders_that_cannot_be_reached_are_refused():
    """Frozen weights above the budget, fewer weights than tensors, an N:M that does not divide, NaN scores."""
    weights = linears([(4, 4), (4, 4)])
    scores = scores_of(weights)
    every = {w.name: torch.ones(w.shape, dtype=torch.bool) for w in weights}
    options = {"allocation": ALLOCATIONS["global"], "pattern": Unstructured()}
    with pytest.raises(LevelError, match="sparser levels already keep more"):
        select(weights, scores, 0.5, frozen=every, **options)
    with pytest.raises(LevelError, match=r"sparsity 0\.9375 or less"):
        select(weights, scores, 0.03, **options)
    with pytest.raises(LevelError, match="not finite"):
        select(weights, {w.name: torch.full(w.shape, torch.nan) for w in weights}, 0.5, **options)
    with pytest.raises(LevelError, match=r"0\.9 cannot be reached by N of 4.*0\.75, 0\.5, 0\.25, 0"):
        parse_pattern("2:4", (0.9, 0.5))
    with pytest.raises(LevelError, match="No level of the ladder is 2:4"):
        parse_pattern("2:4", (0.75, 0.0))
    two = {"w": torch.tensor([[True, True, False, False]])}
    with pytest.raises(LevelError, match="hold more in a group"):
        select(
            [Prunable("w", (1, 4), "linear")],
            {"w": torch.rand(1, 4)},
            0.25,
            allocation=ALLOCATIONS["uniform"],
            pattern=NofM(4),
            frozen=two,
        )


def test_unknown_names_are_answered_with_the_nearest():
    """A misspelt allocation or granularity names what exists."""
    with pytest.raises(UnknownNameError, match="Nearest: 'uniform'"):
        allocation_named("unifrom")
    with pytest.raises(UsageError, match="unstructured, 4x1, 1x4, 4x4, channel"):
        parse_pattern("blocks", (0.5,))
    with pytest.raises(UsageError, match="N must be below M"):
        parse_pattern("4:4", (0.5,))
