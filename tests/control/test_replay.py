"""Replay: latencies, memory and scores by hand."""

from __future__ import annotations

import pytest

from elsa_edge.control import Controller, LevelFacts, Observation, Policy, make_plan
from elsa_edge.control.replay import Run, clairvoyant, replay, score
from elsa_edge.control.trace import SCENARIOS, Sample, scenario

MB = 1_000_000
LEVELS = [
    LevelFacts(name="s", p50_ms=10.0, switch_ms=1.0, memory_bytes=20 * MB, accuracy=0.5),
    LevelFacts(name="d", p50_ms=20.0, switch_ms=3.0, memory_bytes=50 * MB, accuracy=0.8),
]
TRUTH = [10.0, 20.0]
POLICY = Policy(budget_ms=30.0, reserve_bytes=32 * MB)


class Alternating:
    """0, 1, 0, 1 ..."""

    def __init__(self) -> None:
        self.level = 0
        self.seen: list[Observation] = []

    def observe(self, observation: Observation, /) -> None:
        self.seen.append(observation)
        self.level = 1 - self.level


def test_runs_take_slowdown_switch_and_pause_into_account():
    trace = [Sample(1.0), Sample(2.0, idle_ms=5.0), Sample(1.0, available_bytes=100.0 * MB)]
    chooser = Alternating()

    runs = replay(trace, LEVELS, TRUTH, chooser, period_ms=15.0)

    assert [run.latency_ms for run in runs] == [10.0, 43.0, 11.0]
    assert [run.end_ms for run in runs] == [10.0, 15.0 + 5.0 + 43.0, 63.0 + 11.0]
    assert [o.level for o in chooser.seen] == [0, 1, 0]


def test_the_memory_that_is_left_depends_on_the_level():
    """The trace tells what is free at the smallest level; a larger one leaves less."""
    runs = replay([Sample(1.0, available_bytes=60.0 * MB)] * 2, LEVELS, TRUTH, Alternating())

    assert [run.available_bytes for run in runs] == [60.0 * MB, 30.0 * MB]


def test_the_oracle_takes_the_best_level_of_each_run():
    trace = [Sample(1.0), Sample(1.6), Sample(9.0), Sample(1.0, available_bytes=40.0 * MB)]

    assert clairvoyant(trace, LEVELS, TRUTH, POLICY) == [1, 0, 0, 0]


def test_scores_by_hand():
    """Of four runs one is over the budget and one short of memory: value (0.5 + 0 + 0 + 0.8) / 4."""
    trace = [Sample(1.0), Sample(2.0), Sample(1.0), Sample(1.0)]
    rows = [(0, 10.0, None), (1, 43.0, None), (1, 20.0, 10.0 * MB), (1, 20.0, 50.0 * MB)]
    runs = [Run(1000.0 * (k + 1), level, ms, free, "hold", True) for k, (level, ms, free) in enumerate(rows)]

    outcome = score(runs, trace, LEVELS, TRUTH, POLICY)

    assert (outcome.miss_rate, outcome.short_of_memory, outcome.switches) == (0.25, 0.25, 1)
    assert outcome.mean_accuracy == pytest.approx((0.5 + 3 * 0.8) / 4)
    assert outcome.mean_value == pytest.approx((0.5 + 0.8) / 4)
    assert outcome.regret == pytest.approx((0.8 + 0.5 + 0.8 + 0.8) / 4 - 1.3 / 4)
    assert outcome.switches_per_minute == pytest.approx(15.0)
    assert outcome.level_share == (0.25, 0.75)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_controller_keeps_its_promise_on_every_scenario(name):
    """Misses beyond those that even the oracle cannot avoid stay within the allowed 5 %, and it beats every fixed level
    that keeps the promise too."""
    levels = [
        LevelFacts(name="s", p50_ms=10.0, p95_ms=11.0, switch_ms=1.0, memory_bytes=20 * MB, accuracy=0.6),
        LevelFacts(name="m", p50_ms=14.0, p95_ms=15.0, switch_ms=1.0, memory_bytes=30 * MB, accuracy=0.7),
        LevelFacts(name="d", p50_ms=24.0, p95_ms=26.0, switch_ms=1.0, memory_bytes=60 * MB, accuracy=0.75),
    ]
    truth = [10.0, 14.0, 24.0]
    trace = scenario(name, 800, seed=5)
    best = clairvoyant(trace, levels, truth, POLICY)
    unavoidable = sum(truth[k] * s.slowdown > 30.0 for k, s in zip(best, trace, strict=True)) / len(trace)

    runs = replay(trace, levels, truth, Controller(make_plan(levels, POLICY)), period_ms=33.0)
    ours = score(runs, trace, levels, truth, POLICY)

    assert ours.miss_rate <= unavoidable + 0.05
    assert ours.short_of_memory <= 0.005
    assert ours.switches <= 20
    assert ours.mean_value >= 0.6 * (1.0 - ours.miss_rate)
