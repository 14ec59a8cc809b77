"""Which levels are worth using, in which order, at what expected cost."""

from __future__ import annotations

import math

import pytest

from elsa_edge.bundle.manifest import LevelEntry
from elsa_edge.control import LevelFacts, Policy, level_facts, make_plan
from elsa_edge.errors import ProfileError
from elsa_edge.levels import Ladder
from elsa_edge.profiles.schema import Measured, MeasuredLevel, QoS, Switching

POLICY = Policy(budget_ms=30.0)


def test_policy_translates_the_profile():
    """Units and complements: megabytes to bytes, percentile to miss rate, null to no limit."""
    qos = QoS(
        latency_budget_ms=20,
        latency_percentile=99.0,
        memory_reserve_mb=1.5,
        switching=Switching(dwell_ms=7.0),
    )

    policy = Policy.from_qos(qos)

    assert (policy.budget_ms, policy.allowed_miss_rate, policy.reserve_bytes) == (20.0, 0.01, 1_500_000.0)
    assert (policy.dwell_ms, policy.temperature_limit_c, policy.minimum_accuracy) == (7.0, math.inf, 0.0)
    assert Policy.from_qos(QoS()) == Policy()


def test_facts_join_ladder_and_measurements():
    """Measured figures win over the adapter's and the ladder's; work comes from FLOPs, density or sparsity."""
    ladder = (
        LevelEntry(name="a", sparsity=0.9, density=0.1, flops_fraction=0.3, accuracy=0.5),
        LevelEntry(name="b", sparsity=0.5, density=0.6),
        LevelEntry(name="c", sparsity=0.25),
    )
    table = Measured(
        levels=(
            MeasuredLevel(name="a", p50_ms=1.0, p95_ms=2.0, switch_ms=3.0, memory_bytes=4, accuracy=0.6),
            MeasuredLevel(name="b"),
            MeasuredLevel(name="c", p50_ms=9.0),
        )
    )

    facts = level_facts(ladder, table, [10, 20, 30])

    assert facts[0] == LevelFacts(
        name="a", work=0.3, p50_ms=1.0, p95_ms=2.0, switch_ms=3.0, memory_bytes=4, accuracy=0.6
    )
    assert facts[1] == LevelFacts(name="b", work=0.6, memory_bytes=20)
    assert (facts[2].work, facts[2].p50_ms) == (0.75, 9.0)


def test_a_table_of_another_network_is_ignored():
    """Other level names mean that something else was measured."""
    table = Measured(levels=(MeasuredLevel(name="x", p50_ms=1.0),))

    facts = level_facts(Ladder.from_sparsities([0.5]).levels, table)

    assert facts[0].p50_ms is None


def test_a_dominated_level_is_left_out_with_the_reason(ladder):
    """Sparser but as slow as the densest: nothing is gained by it."""
    plan = make_plan(ladder(23.9, 12.0, 24.0), POLICY)

    assert plan.candidates == (1, 2)
    assert "level-0 is left out: level-1 is worth more" in plan.notes[0]


def test_a_smaller_level_stays_though_it_is_not_faster(ladder):
    """Memory is a reason of its own to keep a level."""
    plan = make_plan(ladder(24.0, 24.0, memory_mb=[10, 20]), POLICY)

    assert plan.candidates == (0, 1)


def test_one_level_left_is_said(ladder):
    plan = make_plan(ladder(24.0, 24.0), POLICY)

    assert plan.candidates == (1,)
    assert any("nothing to adapt" in note for note in plan.notes)


def test_levels_are_ordered_by_accuracy():
    """A denser level that is less accurate is worth less, and is dropped when it is slower as well."""
    facts = [
        LevelFacts(name="s", p50_ms=10.0, accuracy=0.7),
        LevelFacts(name="m", p50_ms=15.0, accuracy=0.8),
        LevelFacts(name="d", p50_ms=20.0, accuracy=0.75),
    ]

    assert make_plan(facts, POLICY).candidates == (0, 1)


def test_guesses_drop_no_level(ladder):
    """Without measured latencies every level stays, and a note says that the controller must learn."""
    plan = make_plan(ladder(None, None, None), POLICY)

    assert plan.candidates == (0, 1, 2)
    assert not plan.all_measured
    assert "No latency was measured" in plan.notes[-1]


def test_an_unmeasured_level_is_scaled_from_the_measured_ones():
    """Levels of work 0.1 and 1 at 23.5 and 100 ms fit 0.15 + 0.85 work exactly; 0.5 lies between."""
    facts = [
        LevelFacts(name="a", work=0.1, p50_ms=23.5),
        LevelFacts(name="b", work=0.5),
        LevelFacts(name="c", work=1.0, p50_ms=100.0),
    ]

    plan = make_plan(facts, POLICY)

    assert math.exp(plan.reference_log_ms[1]) == pytest.approx(57.5)
    assert plan.measured == (True, False, True)


def test_zero_work_divides_nothing_by_zero():
    """A level without any arithmetic still takes the fixed share."""
    plan = make_plan([LevelFacts(name="a", work=0.0), LevelFacts(name="b", work=1.0)], POLICY)

    assert all(math.isfinite(value) for value in plan.reference_log_ms)


def test_minimum_accuracy_removes_levels():
    facts = [LevelFacts(name="a", accuracy=0.5), LevelFacts(name="b", accuracy=0.9)]

    plan = make_plan(facts, Policy(minimum_accuracy=0.8))

    assert plan.candidates == (1,)
    assert "a is left out: its accuracy 0.5 is below the minimum 0.8." in plan.notes


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [(None, "no accuracy is known for a"), (0.5, "No level reaches qos.minimum_accuracy")],
)
def test_a_minimum_accuracy_that_cannot_be_held_is_an_error(accuracy, message):
    with pytest.raises(ProfileError, match=message):
        make_plan([LevelFacts(name="a", accuracy=accuracy)], Policy(minimum_accuracy=0.8))


def test_no_level_is_an_error():
    with pytest.raises(ProfileError, match="at least one level"):
        make_plan([], POLICY)


def test_one_noisy_percentile_is_not_the_tail_of_all_levels():
    """A short measurement beside other work had 2.9 x the median at one level; the device was left half idle for it."""
    levels = [
        LevelFacts(name=f"level-{k}", p50_ms=median_ms, p95_ms=ratio * median_ms)
        for k, (median_ms, ratio) in enumerate(((2.4, 2.9), (7.0, 1.25), (8.5, 1.5)))
    ]

    assert make_plan(levels, POLICY).tail_log == pytest.approx(math.log(1.5))
    assert make_plan(levels[:2], POLICY).tail_log == pytest.approx(math.log(2.9 * 1.25) / 2.0)
