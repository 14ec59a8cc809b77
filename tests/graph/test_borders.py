"""Where a network is cut: cheap, even, never between levels; numbers against trying every way."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.errors import ExportError
from elsa_edge.graph.borders import Place, choose_borders


def places(works, live, levelled=None) -> tuple[list[Place], Place]:
    levelled = levelled or [1] * len(works)
    every = [
        Place(float(w), b, n)
        for w, b, n in zip(itertools.accumulate(works), live, itertools.accumulate(levelled), strict=True)
    ]
    return every, Place(every[-1].work_before, 0, every[-1].levelled_before)


def cost(every, total, borders) -> float:
    nodes = [Place(0.0, 0, 0), *(every[b] for b in borders), total]
    shares = [(b.work_before - a.work_before) / total.work_before for a, b in itertools.pairwise(nodes)]
    return sum(s * s for s in shares) + 10.0 * sum(every[b].live_bytes for b in borders) / total.work_before


def test_equal_parts_where_all_borders_cost_the_same() -> None:
    """Eight equal nodes in four segments: two each."""
    every, total = places([1000.0] * 8, [1] * 7 + [None])
    assert choose_borders(every, total, 4) == [1, 3, 5]


def test_a_cheap_border_is_worth_uneven_segments() -> None:
    """Inside a block with a shortcut two tensors live; the border between the blocks is taken."""
    every, total = places([1000.0] * 8, [400, 400, 10, 400, 400, 400, 400, None])
    assert choose_borders(every, total, 2) == [2]


def test_a_place_that_cannot_be_cut_is_never_taken() -> None:
    """A sequence of tensors, or one of unknown type, does not cross a border."""
    every, total = places([1.0] * 6, [None, None, None, None, 4, None])
    assert choose_borders(every, total, 2) == [4]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9), st.integers(0, 1)), min_size=3, max_size=8),
    st.integers(2, 4),
)
def test_no_other_way_is_cheaper(nodes, segments) -> None:
    """Among all ways to cut, with a layer that differs by level in each segment, the cheapest is found."""
    works, live, levelled = zip(*nodes, strict=True)
    every, total = places([w + 1 for w in works], [*live[:-1], None], levelled)
    ways = [
        way
        for way in itertools.combinations(range(len(every) - 1), segments - 1)
        if all(
            a < b
            for a, b in itertools.pairwise(
                [0, *(every[b].levelled_before for b in way), total.levelled_before]
            )
        )
    ]
    if not ways:
        with pytest.raises(ExportError, match="cannot be cut into so many"):
            choose_borders(every, total, segments)
        return
    found = choose_borders(every, total, segments)
    assert tuple(found) in ways
    assert cost(every, total, found) == pytest.approx(min(cost(every, total, way) for way in ways))


def test_thousands_of_nodes_are_cut_evenly() -> None:
    """Where places are thinned out, segments still do the same work to half a per cent."""
    every, total = places([10.0] * 5000, [8 + k % 7 for k in range(4999)] + [None])
    borders = choose_borders(every, total, 5)
    assert [round((b + 1) / 5000, 2) for b in borders] == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=0.006)


@pytest.mark.parametrize("segments", [-1, 0, 1, 17])
def test_a_number_of_segments_that_makes_no_sense_is_refused(segments) -> None:
    """One segment is the whole network; more than sixteen are refused before anything is tried."""
    every, total = places([1.0] * 4, [1] * 3 + [None])
    with pytest.raises(ExportError, match="expected --reroute from 2 to 16"):
        choose_borders(every, total, segments)
