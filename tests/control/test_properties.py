"""What holds for every ladder, policy and trace."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.control import (
    Controller,
    Decision,
    LevelFacts,
    Observation,
    Plan,
    Policy,
    Reason,
    State,
    make_plan,
    start,
    step,
)
from elsa_edge.control.estimate import _push, predict

MB = 1_000_000
QUICK = settings(max_examples=40, deadline=None)


@st.composite
def ladders(draw, *, measured: bool | None = None) -> list[LevelFacts]:
    """One to seven levels, sometimes not in the order of their speed, accuracy or memory."""
    count = draw(st.integers(1, 7))
    known = draw(st.booleans()) if measured is None else measured
    accurate = draw(st.booleans())
    positive = st.floats(0.1, 100.0)
    return [
        LevelFacts(
            name=f"level-{k}",
            work=draw(st.floats(0.0, 1.0)),
            p50_ms=(median := draw(positive)) if known else None,
            p95_ms=median * draw(st.floats(1.0, 2.0)) if known else None,
            switch_ms=draw(st.floats(0.0, 50.0)),
            memory_bytes=draw(st.integers(0, 100)) * MB,
            accuracy=draw(st.floats(0.0, 1.0)) if accurate else None,
        )
        for k in range(count)
    ]


policies = st.builds(
    Policy,
    budget_ms=st.floats(0.1, 200.0) | st.just(math.inf),
    allowed_miss_rate=st.floats(0.001, 0.5),
    window_runs=st.integers(1, 100),
    dwell_ms=st.floats(0.0, 500.0),
    up_after_runs=st.integers(1, 10),
    discard_runs=st.integers(0, 4),
    margin=st.just(0.0),
    up_margin=st.floats(0.0, 0.3),
)

moments = st.lists(
    st.tuples(
        st.floats(0.2, 5.0),  # slow-down
        st.floats(0.0, 5000.0),  # pause in ms
        st.none() | st.integers(-50, 300),  # MB beyond the reserve
        st.none() | st.floats(0.0, 100.0),  # pressure
    ),
    min_size=1,
    max_size=60,
)


def walk(plan: Plan, trace: list[tuple[float, float, int | None, float | None]]):
    """Yield (state before, observation, state after, decision) along a trace."""
    state, decision, _ = start(plan)
    now = 0.0
    for slowdown, pause, free_mb, pressure in trace:
        facts = plan.levels[decision.level]
        latency = (facts.p50_ms or 20.0 * (0.2 + facts.work)) * slowdown
        now += pause + latency
        observation = Observation(
            now_ms=now,
            level=decision.level,
            latency_ms=latency,
            available_bytes=None if free_mb is None else plan.policy.reserve_bytes + free_mb * MB,
            pressure_percent=pressure,
        )
        before = state
        state, decision, reason = step(state, observation, plan)
        assert reason is decision.reason
        yield before, observation, state, decision


@QUICK
@given(levels=ladders(), policy=policies, trace=moments)
def test_decisions_are_sound_and_repeatable(levels, policy, trace):
    """A candidate is chosen, numbers are finite, and the same trace gives the same decisions."""
    plan = make_plan(levels, policy)

    first = list(walk(plan, trace))

    assert first == list(walk(plan, trace))
    for _, _, _, decision in first:
        assert decision.level in plan.candidates
        assert math.isfinite(decision.slowdown)
        assert 0.0 <= decision.miss_rate <= 1.0


@QUICK
@given(levels=ladders(), policy=policies, trace=moments)
def test_no_level_over_the_budget_while_one_fits(levels, policy, trace):
    """When a level fits by memory and prediction, the chosen one does; otherwise `feasible` is False."""
    plan = make_plan(levels, policy)
    for before, observation, after, decision in walk(plan, trace):
        if decision.reason is Reason.PROBE or decision.predicted_ms is None:
            continue  # nothing is known about that level, so nothing is predicted
        if decision.feasible:
            assert decision.predicted_ms <= policy.budget_ms * (1 + 1e-9) or before.position == after.position
            continue
        predicted = predict(after.estimate, plan, before.position, before.mean_stay_runs)
        allowed = range(len(plan.candidates))
        if observation.available_bytes is not None and observation.available_bytes < policy.reserve_bytes:
            smallest = min(plan.memory_bytes)
            lack = policy.reserve_bytes - observation.available_bytes
            allowed = [
                p
                for p in allowed
                if plan.memory_bytes[before.position] - plan.memory_bytes[p] >= lack
                and plan.memory_bytes[p] >= smallest
            ]
        elif observation.available_bytes is not None or observation.pressure_percent is not None:
            allowed = [p for p in allowed if plan.memory_bytes[p] < plan.memory_bytes[before.position]]
        assert not any(predicted[p] <= plan.stay_log_ms for p in allowed)


@QUICK
@given(levels=ladders(), policy=policies, trace=moments, more=st.floats(1.0, 4.0))
def test_a_larger_budget_never_means_a_lesser_level(levels, policy, trace, more):
    """From the same state and observation, the level is worth at least as much under a larger budget."""
    small = make_plan(levels, policy)
    large = make_plan(levels, replace(policy, budget_ms=policy.budget_ms * more))
    for before, observation, after, _ in walk(small, trace):
        other, _, _ = step(before, observation, large)

        assert other.position >= after.position


@QUICK
@given(levels=ladders(), policy=policies, trace=moments)
def test_a_level_that_fits_from_outside_fits_from_inside(levels, policy, trace):
    """Else it is entered, left before it was observed again, and entered again, for ever."""
    plan = make_plan(levels, policy)
    positions = range(len(plan.candidates))
    for before, _, after, decision in walk(plan, trace):
        for p in positions:
            inside = predict(after.estimate, plan, p, after.mean_stay_runs)[p]
            assert all(
                inside <= predict(after.estimate, plan, q, after.mean_stay_runs)[p] + 1e-12 for q in positions
            )
        assert decision.reason is not Reason.DOWN_LATENCY or after.position < before.position


@QUICK
@given(levels=ladders(measured=True), policy=policies, slowdown=st.floats(0.2, 5.0))
def test_no_flip_flop_under_constant_input(levels, policy, slowdown):
    """Latencies that do not change: the level settles, however close to the budget it is."""
    plan = make_plan(levels, replace(policy, budget_ms=min(policy.budget_ms, 1e3)))
    decisions = [decision for *_, decision in walk(plan, [(slowdown, 20.0, None, None)] * 150)]
    switches = sum(a.level != b.level for a, b in pairwise(decisions[50:]))

    assert switches <= 2


@QUICK
@given(levels=ladders(), policy=policies, trace=moments)
def test_short_of_memory_a_smaller_level_runs_at_once(levels, policy, trace):
    """One decision with too little memory is enough; and it never goes to a larger level."""
    plan = make_plan(levels, policy)
    for before, observation, after, decision in walk(plan, trace):
        if observation.available_bytes is None or observation.available_bytes >= policy.reserve_bytes:
            continue
        had, has = plan.memory_bytes[before.position], plan.memory_bytes[after.position]

        assert has < had or had == min(plan.memory_bytes) == has
        lack = policy.reserve_bytes - observation.available_bytes
        assert decision.reason in (Reason.DOWN_MEMORY, Reason.INFEASIBLE_MEMORY)
        assert (decision.reason is Reason.DOWN_MEMORY) == (had - has >= lack)


@QUICK
@given(policy=policies, trace=moments, level=ladders().map(lambda levels: levels[:1]))
def test_a_ladder_of_one_level_never_switches(policy, trace, level):
    plan = make_plan(level, policy)

    assert {decision.level for *_, decision in walk(plan, trace)} == {0}


@QUICK
@given(levels=ladders(), policy=policies, trace=moments)
def test_the_object_and_the_function_agree(levels, policy, trace):
    """`Controller` only remembers what `step` returns."""
    plan = make_plan(levels, policy)
    controller = Controller(plan)

    for _, observation, state, decision in walk(plan, trace):
        assert controller.observe(observation) == decision
        assert (controller.state, controller.level) == (state, decision.level)


@given(errors=st.lists(st.floats(-2.0, 2.0), max_size=300))
@settings(max_examples=30, deadline=None)
def test_the_window_of_errors_holds_the_latest_hundred_sorted(errors):
    scores, ordered = array("d"), array("d")
    for error in errors:
        before = scores, ordered, scores[:], ordered[:]
        scores, ordered = _push(scores, ordered, error)
        assert before[:2] == before[2:]

    assert list(scores) == errors[-100:]
    assert list(ordered) == sorted(errors[-100:])


def test_states_and_decisions_cannot_be_changed():
    """Everything that goes in and comes out is immutable."""
    plan = make_plan([LevelFacts(name="a", p50_ms=1.0)], Policy())
    state, decision, _ = start(plan)

    for thing in (state, decision, plan, Observation(now_ms=0.0)):
        with pytest.raises((AttributeError, TypeError)):
            thing.policy = None  # type: ignore[misc, union-attr]
    assert isinstance(state, State)
    assert isinstance(decision, Decision)
