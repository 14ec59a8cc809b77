"""Traces of real disturbances, recorded on a shared machine, stay readable, and the controller holds on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsa_edge.control import Controller, LevelFacts, Policy, make_plan
from elsa_edge.control.replay import replay, score
from elsa_edge.control.trace import read_trace

TRACES = Path(__file__).parents[1] / "data" / "traces"
LEVELS = [
    LevelFacts(name=name, p50_ms=ms, memory_bytes=size * 1_000_000, accuracy=accuracy)
    for name, ms, size, accuracy in (("s95", 1.2, 3, 0.90), ("s85", 2.5, 6, 0.92), ("dense", 5.2, 12, 0.925))
]
MEDIANS = [level.p50_ms or 0.0 for level in LEVELS]
POLICY = Policy(budget_ms=8.8, reserve_bytes=8e6, hysteresis_bytes=2e6, temperature_limit_c=75.0)


class Fixed:
    """Always one level."""

    def __init__(self, level: int) -> None:
        self.level = level

    def observe(self, _: object, /) -> None:
        """Learn nothing."""


@pytest.mark.parametrize("name", ["bursts", "quota", "thermal", "memory"])
def test_the_controller_is_worth_more_than_any_fixed_level_or_as_much(name):
    """A late run, or one short of memory, has no value; misses beyond the sparsest level's are within the policy."""
    samples = read_trace(TRACES / f"{name}.csv", [1.0])
    runs = replay(samples, LEVELS, MEDIANS, Controller(make_plan(LEVELS, POLICY)), period_ms=10.0)
    ours = score(runs, samples, LEVELS, MEDIANS, POLICY)
    fixed = [
        score(replay(samples, LEVELS, MEDIANS, Fixed(k), period_ms=10.0), samples, LEVELS, MEDIANS, POLICY)
        for k in range(3)
    ]

    assert ours.miss_rate - fixed[0].miss_rate <= POLICY.allowed_miss_rate
    assert ours.mean_value >= max(one.mean_value for one in fixed) - 0.03
    assert ours.short_of_memory <= 0.02
