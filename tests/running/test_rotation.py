"""Taking turns: everybody comes first equally often, and the time is kept."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.running.rotation import order, rounds


@given(st.integers(1, 9))
def test_everybody_is_first_as_often_as_the_others(count):
    firsts = Counter(order(count, turn)[0] for turn in range(2 * count))
    assert set(firsts.values()) == {2}
    assert all(sorted(order(count, turn)) == list(range(count)) for turn in range(2 * count))


def test_time_ends_turns_within_their_limits():
    """A clock that says a second more each time it is looked at."""
    ticks = iter(range(1000))
    assert len(list(rounds(5.0, fewest=2, most=50, clock_s=lambda: float(next(ticks))))) in (6, 7)
    assert len(list(rounds(0.0, fewest=3, most=50, clock_s=lambda: 0.0))) == 3
    assert len(list(rounds(1e9, fewest=3, most=7, clock_s=lambda: 0.0))) == 7
