"""Single behaviours of the controller: up, down, memory, pauses, outliers, levels never measured."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from elsa_edge.control import Controller, Observation, Policy, Reason, make_plan, start, step
from elsa_edge.control.decide import _moved
from elsa_edge.errors import InputError

POLICY = Policy(budget_ms=30.0)
MB = 1_000_000


def test_it_starts_at_the_densest_level_that_fits(ladder):
    """The measured tail decides, 1.1 x the median here: 27 x 1.1 fits 30, 28 x 1.1 does not."""
    for densest, expected in ((27.0, 2), (28.0, 1)):
        _, decision, reason = start(make_plan(ladder(10, 15, densest), POLICY))

        assert (decision.level, reason, decision.feasible) == (expected, Reason.START, True)


def test_it_starts_at_the_fastest_level_when_nothing_fits_and_says_so(ladder):
    _, decision, _ = start(make_plan(ladder(40, 50), POLICY))

    assert (decision.level, decision.feasible) == (0, False)


def test_it_starts_where_the_memory_allows(ladder):
    """A level that needs more than is free beyond the reserve is not started with."""
    plan = make_plan(ladder(10, 15, 20, memory_mb=[10, 20, 80]), POLICY)

    levels = [start(plan, available_bytes=free * MB)[1].level for free in (1000, 50, 20)]

    assert levels == [2, 1, 0]


def test_without_a_limit_the_densest_level_runs(ladder, drive):
    """No latency budget: the most valuable level, measured or not."""
    for medians in ((10, 20), (None, None)):
        controller = Controller(make_plan(ladder(*medians), Policy()))

        decisions = drive(controller, lambda _run, _level: 1e6, 50)

        assert {d.level for d in decisions} == {1}
        assert all(d.feasible for d in decisions)


def test_a_slow_down_takes_the_level_down_within_two_runs(ladder, drive):
    """One late run may be an accident, two are a new situation."""
    truth = (10.0, 15.0, 24.0)
    controller = Controller(make_plan(ladder(*truth), POLICY))

    decisions = drive(controller, lambda run, level: truth[level] * (1.8 if run >= 50 else 1.0), 60)

    assert [d.level for d in decisions[45:50]] == [2] * 5
    assert (decisions[51].level, decisions[51].reason) == (1, Reason.DOWN_LATENCY)


def test_one_outlier_changes_nothing(ladder, drive):
    """A page fault in one run is not a reason to lose accuracy."""
    truth = (10.0, 15.0, 24.0)
    controller = Controller(make_plan(ladder(*truth), POLICY))

    decisions = drive(controller, lambda run, level: truth[level] * (20.0 if run == 50 else 1.0), 100)

    assert {d.level for d in decisions} == {2}
    assert decisions[-1].miss_rate == pytest.approx(0.01)


def test_it_goes_up_again_after_dwell_and_fitting_runs(ladder, drive):
    """Not at the first good run: after `up_after_runs` runs and `dwell_ms`."""
    truth = (10.0, 15.0, 24.0)
    controller = Controller(make_plan(ladder(*truth), Policy(budget_ms=30.0, dwell_ms=0.0, up_after_runs=6)))

    decisions = drive(controller, lambda run, level: truth[level] * (2.5 if 50 <= run < 60 else 1.0), 120)
    back = next(run for run in range(60, 120) if decisions[run].reason is Reason.UP)

    assert decisions[59].level == 0
    assert 60 + 6 <= back + 1 <= 60 + 20
    assert decisions[-1].level == 2


def test_failed_attempts_are_repeated_ever_more_rarely(ladder, drive):
    """The densest level is fast only while it is not used; back-off doubles the wait."""
    controller = Controller(make_plan(ladder(10, 20), Policy(budget_ms=30.0, dwell_ms=200.0)))

    decisions = drive(controller, lambda _run, level: (10.0, 60.0)[level], 4000)
    entered = [run for run, d in enumerate(decisions) if d.reason in (Reason.UP, Reason.PROBE)]

    assert len(entered) <= 4
    assert sum(d.level == 1 for d in decisions) < 40


@pytest.mark.parametrize("memory_mb", [[20, 25], []])
@pytest.mark.parametrize("stalls", [False, True])
def test_a_level_that_takes_more_memory_than_was_told_is_tried_ever_more_rarely(ladder, memory_mb, stalls):
    """It shows only once the level runs: the reserve is touched, or the system stalls."""
    controller = Controller(make_plan(ladder(5, 10, memory_mb=memory_mb), POLICY))
    now, levels = 0.0, []
    for _ in range(4000):
        level = controller.level
        now += (5.0, 10.0)[level]
        seen = Observation(
            now_ms=now,
            level=level,
            latency_ms=(5.0, 10.0)[level],
            available_bytes=(1000.0 if stalls else (100.0, 10.0)[level]) * MB,
            pressure_percent=15.0 * level if stalls else None,
        )
        controller.observe(seen)
        levels.append(level)

    assert sum(a != b for a, b in pairwise(levels)) <= 12
    assert levels[-1] == 0


def test_the_table_may_be_wrong(ladder, drive):
    """The densest level takes half of what was measured: the controller finds out and uses it."""
    truth = (10.0, 20.0)
    controller = Controller(make_plan(ladder(10, 29), POLICY))

    decisions = drive(controller, lambda _run, level: truth[level] * 0.9, 300)

    assert decisions[-1].level == 1


@pytest.mark.parametrize(
    ("truth", "best"),
    [((12.0, 8.0, 8.0), 2), ((12.0, 8.0, 20.0), 1), ((12.0, 14.0, 8.0), 2), ((12.0, 11.0, 8.0), 2)],
)
def test_where_nothing_fits_levels_that_were_never_seen_are_tried(ladder, drive, truth, best):
    """The sparsest may be the slowest: kernels for zeros can lose to dense ones."""
    controller = Controller(make_plan(ladder(None, None, None), Policy(budget_ms=10.0)))

    decisions = drive(controller, lambda _run, level: truth[level], 1500)

    assert {d.level for d in decisions[-100:]} == {best}
    assert all(d.feasible for d in decisions[-100:])


def test_levels_that_are_tried_where_nothing_fits_hold_no_promise_and_are_left_again(ladder, drive):
    """While it is tried the policy is broken as before, and it is tried ever more rarely."""
    truth = (12.0, 14.0, 16.0)
    controller = Controller(make_plan(ladder(None, None, None), Policy(budget_ms=10.0)))

    decisions = drive(controller, lambda _run, level: truth[level], 4000)

    assert any(d.reason is Reason.PROBE for d in decisions)
    assert not any(d.feasible for d in decisions[10:])
    assert sum(d.level > 0 for d in decisions) <= 0.02 * len(decisions)


def test_a_measured_level_that_is_far_too_slow_is_never_tried(ladder, drive):
    """A disturbance makes all levels late: it is no time for trials."""
    controller = Controller(make_plan(ladder(10.0, 20.0, 40.0), Policy(budget_ms=15.0)))

    decisions = drive(controller, lambda _run, level: 3.0 * (10.0, 20.0, 40.0)[level], 2000)

    assert {d.level for d in decisions} == {0}


def test_a_level_without_room_does_not_bar_the_way_to_the_next(ladder, drive):
    """Unknown levels are climbed one by one, but the middle one needs more memory than there is."""
    memory_mb = (30, 70, 34)
    controller = Controller(
        make_plan(ladder(None, None, None, memory_mb=memory_mb), Policy(budget_ms=30.0)),
        available_bytes=60 * MB,
    )

    decisions = drive(
        controller,
        lambda _run, level: (10.0, 15.0, 24.0)[level],
        600,
        available_bytes=lambda _run, level: (60 - memory_mb[level] + 30) * MB,
    )

    assert {d.level for d in decisions} == {0, 2}
    assert decisions[-1].level == 2


@pytest.mark.parametrize(
    "truth",
    [(10.0, 10.0, 10.0), (10.0, 14.0, 25.0), (1e-3, 2e-3, 3e-3), (10.0, 20.0, 60.0), (900.0, 1e3, 2e3)],
)
def test_levels_that_were_never_measured_are_learned(ladder, drive, truth):
    """It ends at the best level that fits, whatever the scale and shape of the latencies, and misses rarely."""
    budget = 30.0 if truth[0] < 30.0 else 1500.0
    controller = Controller(make_plan(ladder(None, None, None), Policy(budget_ms=budget)))

    decisions = drive(controller, lambda _run, level: truth[level], 600)

    best = max(k for k in range(3) if truth[k] <= 0.95 * budget)
    assert sum(d.level == best for d in decisions[-200:]) > 190
    assert decisions[-1].miss_rate <= 0.05


def test_the_first_runs_of_an_unknown_network_are_not_judged(ladder):
    """Nothing is predicted before something was seen."""
    _, decision, _ = start(make_plan(ladder(None, None), POLICY))

    assert (decision.level, decision.predicted_ms) == (0, None)


def test_cold_runs_count_but_teach_nothing(ladder):
    """The first runs after a load are slow; they are misses, and no reason to leave the level."""
    plan = make_plan(ladder(10, 20), POLICY)
    state, decision, _ = start(plan)
    for run in range(2):
        state, decision, _ = step(state, Observation(now_ms=100.0 * run, level=1, latency_ms=90.0), plan)

    assert (decision.level, decision.miss_rate, state.estimate.runs) == (1, 1.0, 0)


def test_an_application_that_always_pauses_still_learns(ladder, drive):
    """Every run follows a pause longer than the idle gap: then cold is its normal."""
    truth = (10.0, 24.0)
    controller = Controller(make_plan(ladder(*truth), POLICY))

    decisions = drive(controller, lambda _run, level: truth[level] * 2.0, 40, period_ms=10_000.0)

    assert decisions[-1].level == 0
    assert decisions[-1].slowdown == pytest.approx(2.0, rel=0.15)


def test_memory_takes_the_level_down_at_once(ladder, drive):
    """The first decision that sees too little memory goes to the best level that frees enough."""
    plan = make_plan(
        ladder(10, 15, 20, memory_mb=[20, 30, 60]), Policy(budget_ms=30.0, reserve_bytes=32 * MB)
    )
    controller = Controller(plan)
    extra = (0, 10, 40)

    decisions = drive(
        controller,
        lambda _run, level: (10.0, 15.0, 20.0)[level],
        60,
        available_bytes=lambda run, level: (500 if run < 30 else 45) * MB - extra[level] * MB,
    )

    assert [d.level for d in decisions[28:31]] == [2, 2, 1]
    assert (decisions[30].reason, decisions[30].feasible) == (Reason.DOWN_MEMORY, True)
    assert {d.level for d in decisions[30:]} == {1}


def test_memory_is_looked_at_between_runs(ladder):
    """An observation without a run checks the memory only."""
    plan = make_plan(ladder(10, 20, memory_mb=[20, 60]), POLICY)
    state, _, _ = start(plan)

    state, decision, reason = step(state, Observation(now_ms=1.0, available_bytes=0.0), plan)

    assert (decision.level, reason, decision.feasible) == (0, Reason.DOWN_MEMORY, True)
    assert state.runs == 0


def test_memory_figures_unknown_the_sparsest_level_is_the_smallest(ladder):
    plan = make_plan(ladder(10, 15, 20), POLICY)
    state, _, _ = start(plan)

    _, decision, _ = step(state, Observation(now_ms=1.0, available_bytes=1.0 * MB), plan)

    assert decision.level == 0


def test_levels_of_equal_memory_are_not_left_for_memory(ladder):
    """Leaving would free nothing; the shortage is said instead."""
    plan = make_plan(ladder(10, 20, memory_mb=[50, 50]), POLICY)
    state, first, _ = start(plan)

    _, decision, reason = step(state, Observation(now_ms=1.0, available_bytes=0.0), plan)

    assert (decision.level, reason, decision.feasible) == (first.level, Reason.INFEASIBLE_MEMORY, False)


def test_pressure_takes_levels_down_one_by_one_and_keeps_them_down(ladder, drive):
    """Under memory pressure levels only go down, one a dwell time, for the figure lags."""
    plan = make_plan(ladder(10, 15, 20, memory_mb=[20, 30, 60]), Policy(budget_ms=30.0, dwell_ms=330.0))

    decisions = drive(
        Controller(plan), lambda _run, level: (10.0, 15.0, 20.0)[level], 60, pressure_percent=50.0
    )

    assert [decisions[run].level for run in (0, 5, 12, 59)] == [1, 1, 0, 0]
    assert decisions[0].reason is Reason.DOWN_PRESSURE


def test_going_up_needs_memory_to_spare(ladder, drive):
    """Enough for the level but not for the hysteresis: it stays, and says why."""
    policy = Policy(budget_ms=30.0, reserve_bytes=0.0, hysteresis_bytes=16 * MB)
    plan = make_plan(ladder(10, 20, memory_mb=[20, 60]), policy)
    controller = Controller(plan, available_bytes=0.0)

    tight = drive(
        controller, lambda _run, level: (10.0, 20.0)[level], 60, available_bytes=lambda *_: 50.0 * MB
    )
    assert {d.level for d in tight} == {0}
    assert tight[-1].reason is Reason.HOLD_MEMORY


def test_a_hot_device_takes_no_denser_level(ladder, drive):
    policy = Policy(budget_ms=30.0, temperature_limit_c=75.0)
    controller = Controller(make_plan(ladder(10, 24), policy))
    drive(controller, lambda _run, level: (30.0, 72.0)[level], 10)

    hot = drive(controller, lambda _run, level: (10.0, 24.0)[level], 100, temperature_c=80.0)
    assert (hot[-1].level, hot[-1].reason) == (0, Reason.HOLD_HEAT)


def test_one_level_is_always_that_level(ladder, drive):
    """Whatever happens; what does not fit is said."""
    controller = Controller(make_plan(ladder(10), POLICY))

    decisions = drive(controller, lambda run, _level: 10.0 if run < 50 else 100.0, 100)

    assert {d.level for d in decisions} == {0}
    assert (decisions[40].feasible, decisions[-1].feasible) == (True, False)
    assert decisions[-1].reason is Reason.INFEASIBLE_LATENCY


def test_a_level_forced_by_the_caller_is_learned_from(ladder):
    """The controller's choice stays its own; a level outside the plan counts but teaches nothing."""
    plan = make_plan(ladder(24.0, 12.0, 24.0), POLICY)
    state, decision, _ = start(plan)
    for run in range(30):
        state, decision, _ = step(state, Observation(now_ms=33.0 * run, level=1, latency_ms=12.0), plan)
    learned = state.estimate.runs
    for run in range(30, 60):
        state, decision, _ = step(state, Observation(now_ms=33.0 * run, level=0, latency_ms=24.0), plan)

    assert (decision.level, learned, state.estimate.runs) == (2, 28, 28)


def test_a_latency_of_zero_is_survived(ladder):
    """A coarse clock may say 0."""
    plan = make_plan(ladder(10, 20), POLICY)
    state, _, _ = start(plan)
    for run in range(20):
        state, decision, _ = step(state, Observation(now_ms=float(run), level=1, latency_ms=0.0), plan)

    assert math.isfinite(decision.slowdown)
    assert decision.level == 1


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (Observation(now_ms=math.nan), "time of an observation"),
        (Observation(now_ms=0.0, level=0), "a level and a latency"),
        (Observation(now_ms=0.0, latency_ms=1.0), "a level and a latency"),
        (Observation(now_ms=0.0, level=0, latency_ms=math.inf), "finite number of milliseconds"),
        (Observation(now_ms=0.0, level=0, latency_ms=-1.0), "finite number of milliseconds"),
        (Observation(now_ms=0.0, level=2, latency_ms=1.0), "expected 0 to 1"),
        (Observation(now_ms=0.0, level=-1, latency_ms=1.0), "expected 0 to 1"),
    ],
)
def test_an_impossible_observation_is_refused(ladder, observation, message):
    plan = make_plan(ladder(10, 20), POLICY)
    state, _, _ = start(plan)

    with pytest.raises(InputError, match=message):
        step(state, observation, plan)


def test_many_levels_are_few_microseconds_more(ladder, drive):
    """The decision is linear in the levels: 255 of them work."""
    controller = Controller(make_plan(ladder(*(10.0 * 1.03**k for k in range(255))), POLICY))

    decisions = drive(controller, lambda _run, level: 10.0 * 1.03**level, 50)

    assert 30 <= decisions[-1].level <= 37


def test_only_a_way_up_is_on_trial(ladder):
    """After a step down nothing is left of a trial, after a step up it lasts four times the runs that led there."""
    plan = make_plan(ladder(10.0, 15.0, 24.0), POLICY)
    state, _, _ = start(plan)
    seen = Observation(now_ms=100.0, level=state.position, latency_ms=20.0)

    down = _moved(state, seen, plan, state.position - 1, Reason.DOWN_LATENCY)
    up = _moved(down, seen, plan, state.position, Reason.UP)

    assert (down.trial_left, up.trial_left) == (0, 4 * POLICY.up_after_runs)
