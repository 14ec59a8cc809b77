"""The level of a run that has a deadline of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.control import LevelFacts, Policy, make_plan, start
from elsa_edge.control.deadline import level_within, time_left
from elsa_edge.control.history import ChosenBy
from elsa_edge.errors import InputError

MB = 1_000_000
FACTS = tuple(
    LevelFacts(
        name=f"level-{k}",
        p50_ms=ms,
        p95_ms=1.1 * ms,
        memory_bytes=(20 + 10 * k) * MB,
        accuracy=0.7 + 0.05 * k,
    )
    for k, ms in enumerate((2.0, 5.0, 9.0))
)


def begun(facts=FACTS, budget_ms: float = 20.0, available_bytes: float | None = None):
    plan = make_plan(facts, Policy(budget_ms=budget_ms))
    return start(plan, available_bytes=available_bytes)[0], plan


@pytest.mark.parametrize(
    ("time_left_ms", "level", "chosen_by"),
    [
        (math.inf, 2, ChosenBy.CONTROLLER),
        (15.0, 2, ChosenBy.CONTROLLER),
        (8.0, 1, ChosenBy.DEADLINE),
        (3.0, 0, ChosenBy.DEADLINE),
        (1.0, 0, ChosenBy.DEADLINE_SHORT),
        (0.0, 0, ChosenBy.DEADLINE_SHORT),
        (-5.0, 0, ChosenBy.DEADLINE_SHORT),
    ],
)
def test_the_densest_level_that_ends_in_time_runs(
    time_left_ms: float, level: int, chosen_by: ChosenBy
) -> None:
    assert level_within(*begun(), time_left_ms) == (level, chosen_by)


def test_never_above_what_the_controller_chose() -> None:
    """With a budget of 6 ms level 1 is the policy's choice; a generous deadline changes nothing."""
    assert level_within(*begun(budget_ms=6.0), 1000.0) == (1, ChosenBy.CONTROLLER)


def test_a_level_that_was_never_measured_is_not_counted_on() -> None:
    facts = tuple(LevelFacts(name=fact.name, accuracy=fact.accuracy) for fact in FACTS)
    state, plan = begun(facts)
    here = plan.candidates[state.position]

    assert level_within(state, plan, 0.001)[0] == here


@pytest.mark.parametrize("time_left_ms", [math.nan, "5", True])
def test_a_time_that_is_no_number_is_refused(time_left_ms) -> None:
    with pytest.raises(InputError, match="must be a number"):
        level_within(*begun(), time_left_ms)


def test_numbers_of_numpy_are_times() -> None:
    assert level_within(*begun(), np.float32(1000.0)) == level_within(*begun(), 1000.0)


@given(st.floats(-10.0, 1e6), st.floats(0.0, 1e3))
def test_more_time_never_means_a_sparser_level(time_left_ms: float, more_ms: float) -> None:
    state, plan = begun()

    assert level_within(state, plan, time_left_ms)[0] <= level_within(state, plan, time_left_ms + more_ms)[0]


@pytest.mark.parametrize(("given", "found"), [(10**400, math.inf), (-(10**400), -math.inf), (3, 3.0)])
def test_a_time_beyond_what_a_float_holds_is_without_end(given, found):
    assert time_left(given) == found
    level_within(*begun(), given)
