"""What is expected before anything is built: the share of zeros to gain, and work in fours, counted by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from elsa_edge.exporters.nested.forecast import _break_even


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
