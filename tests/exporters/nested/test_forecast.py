"""What is expected before anything is built: the share of zeros to gain, and work in fours, counted by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from elsa_edge.exporters.nested.forecast import _break_even, _work_in_fours, forecast_nested8
from elsa_edge.graph.flops import multiply_adds
from elsa_edge.profiles import load_profile


@pytest.mark.parametrize(
    ("at_ms", "dense_ms", "expected"),
    [
        ((1.0, 9.0), 5.0, 0.45),
        ((1.0, 9.0), 20.0, 0.0),
        ((1.0, 9.0), 0.0, None),
        ((5.0, 5.0), 5.0, None),
    ],
)
def test_the_share_of_zeros_to_gain_is_where_two_lines_meet(at_ms, dense_ms, expected):
    """Times at densities 0.1 and 1: 5 ms lies halfway, at density 0.55. Always faster is 0, never is None."""
    layer = SimpleNamespace(density=lambda level: (0.1, 1.0)[level])
    found = _break_even(layer, at_ms, dense_ms)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_single_zeros_save_little_where_four_channels_go_together(canonical):
    """Per level the share of work in fours is at least that of the weights, and is all of it where all are used."""
    graph = canonical("mlp")
    shares = _work_in_fours(graph)
    total, works = multiply_adds(graph)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    for level, share in enumerate(shares):
        active = sum(work * np.mean(graph.index(name) <= level) for name, work in works.items())
        assert share >= active / total - 1e-9


def test_eight_bits_elsewhere_are_never_slower_than_their_dense_network(canonical):
    """On another kind of processor nothing is timed, and it is said."""
    found = forecast_nested8(canonical("mlp"), load_profile("raspberry-pi-5"))
    assert not found.timed_here
    assert list(found.level_ms) == sorted(found.level_ms)
