"""The level of the rest of an inference: stays while there is time, else the densest that fits, never up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.control import Policy, make_plan
from elsa_edge.control.begin import start
from elsa_edge.control.reroute import Rest, first_parts, learn_parts, level_of_rest, quiet_ms

RESTS = (Rest(2, 8.0), Rest(1, 4.0), Rest(0, 2.0))


@pytest.mark.parametrize(
    ("elapsed_ms", "expected_ms", "limit_ms", "level"),
    [
        (4.0, 4.0, 12.0, 2),  # as planned: the rest just fits
        (4.0, 4.0, 11.9, 1),  # a little less time
        (5.0, 4.0, 12.0, 1),  # slower than planned by a quarter: 8 * 1.25 > 7, 4 * 1.25 fits
        (3.0, 4.0, 11.0, 2),  # faster than planned is not taken for a promise
        (8.0, 4.0, 13.0, 0),  # twice as slow: 4 * 2 > 5, 2 * 2 fits
        (11.0, 4.0, 12.0, 0),  # nothing fits: the fastest
        (20.0, 4.0, 12.0, 0),  # too late already
        (4.0, 0.0, 12.0, 2),  # nothing was expected: no slow-down is known
        (4.0, 4.0, -1.0, 0),  # a deadline in the past
        (4.0, 4.0, math.inf, 2),
    ],
)
def test_golden_decisions(elapsed_ms, expected_ms, limit_ms, level) -> None:
    """Each line is one border."""
    found = level_of_rest(RESTS, elapsed_ms=elapsed_ms, expected_ms=expected_ms, limit_ms=limit_ms)
    assert found.level == level


positive = st.floats(0.01, 100.0)


@given(st.lists(positive, min_size=1, max_size=5), positive, positive, positive, positive)
def test_more_time_never_means_a_sparser_level(times, elapsed_ms, expected_ms, limit_ms, more_ms) -> None:
    """Monotone in the limit, and always one of the levels on offer."""
    ordered = sorted(times, reverse=True)
    rests = [Rest(len(ordered) - 1 - k, ms) for k, ms in enumerate(ordered)]
    short, long = (
        level_of_rest(rests, elapsed_ms=elapsed_ms, expected_ms=expected_ms, limit_ms=limit)
        for limit in (limit_ms, limit_ms + more_ms)
    )
    assert short in rests
    assert long.level >= short.level


def test_parts_begin_as_the_work_and_become_what_was_seen() -> None:
    """Rows sum to 1; a run teaches its own level only; nonsense teaches nothing."""
    parts = first_parts([[0.2, 0.5], [0.6, 0.5], [0.2, 0.0]])
    assert parts.rows == ((pytest.approx(0.2), pytest.approx(0.6), pytest.approx(0.2)), (0.5, 0.5, 0.0))
    assert parts.behind(0, 0) == pytest.approx(0.8)
    assert parts.behind(0, 1) == pytest.approx(0.2)
    seen = parts
    for _ in range(100):
        seen = learn_parts(seen, 1, [2.0, 1.0, 1.0])
    assert seen.rows[1] == pytest.approx((0.5, 0.25, 0.25), abs=1e-4)
    assert seen.rows[0] == parts.rows[0]
    assert learn_parts(parts, 0, [0.0, 0.0, 0.0]) is parts
    assert first_parts([[0.0], [0.0]]).rows == ((0.5, 0.5),)


def test_quiet_times_are_of_the_levels_that_may_replace_the_present_one(ladder) -> None:
    """Denser levels are not among them, nor is anything when the present level's latency is unknown."""
    policy = Policy(budget_ms=50.0)
    plan = make_plan(ladder(10.0, 20.0, 40.0), policy)
    found = quiet_ms(start(plan)[0], plan, 1)
    assert found is not None
    assert list(found) == [1, 0]
    assert found[1] == pytest.approx(20.0)
    assert 10.0 <= found[0] < 11.0  # charged for what is unknown of a level not in use
    unknown = make_plan(ladder(None, None), policy)
    assert quiet_ms(start(unknown)[0], unknown, 1) is None


def test_a_level_that_needs_more_memory_replaces_none(ladder) -> None:
    """Going sparser allocates nothing that is not there."""
    plan = make_plan(ladder(10.0, 20.0, 40.0, memory_mb=[9, 5, 7]), Policy(budget_ms=50.0))
    assert list(quiet_ms(start(plan)[0], plan, 2) or {}) == [2, 1]
    assert list(quiet_ms(start(plan)[0], plan, 2, head_bytes=2e6) or {}) == [2, 1, 0]
