"""What governs a session, without one: a fake clock, a fake device, no runtime."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from elsa_edge.control import Reason
from elsa_edge.control.governor import Governor
from elsa_edge.control.history import ChosenBy
from elsa_edge.errors import InputError
from elsa_edge.profiles.schema import Probes, QoS

ONE = {"x": SimpleNamespace(shape=(1, 3))}
FOUR = {"x": SimpleNamespace(shape=(4, 3))}
EMPTY = {"x": SimpleNamespace(shape=(0, 3))}


class Clock:
    """Seconds as a test sets them."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def governor(ladder, clock, tmp_path):
    """Levels of 2, 4 and 8 ms and 10, 20 and 30 MB, a budget of 10 ms, a device of which nothing can be read."""
    facts = ladder(2.0, 4.0, 8.0, memory_mb=(10, 20, 30))
    made = Governor(
        facts,
        QoS(latency_budget_ms=10.0),
        Probes(root=str(tmp_path), interval_ms=100),
        threads=1,
        clock_s=clock,
    )
    yield made
    made.close()


def _run(governor, clock, took_ms, inputs=ONE, **asked):
    begun = governor.begin(inputs, asked.get("level"), asked.get("within_ms"))
    clock.now_s += took_ms / 1e3
    return governor.end(begun, None)


def test_a_run_teaches_and_is_told_as_it_happened(governor, clock):
    first = _run(governor, clock, 8.0)
    clock.now_s += 0.005
    second = _run(governor, clock, 3.0, level=1)

    assert (first.level, first.chosen_by, first.limit_ms, first.idle_ms) == (
        2,
        ChosenBy.CONTROLLER,
        10.0,
        0.0,
    )
    assert first.latency_ms == pytest.approx(8.0)
    assert (second.level, second.chosen_by) == (1, ChosenBy.CALLER)
    assert second.idle_ms == pytest.approx(5.0)
    assert governor.controller.state.runs == 2


def test_a_level_of_the_callers_is_not_rerouted_and_a_time_of_the_callers_limits(governor):
    assert not governor.begin(ONE, 0, None).may_reroute
    short = governor.begin(ONE, None, 5.0)

    assert (short.level, short.chosen_by, short.limit_ms, short.may_reroute) == (
        1,
        ChosenBy.DEADLINE,
        5.0,
        True,
    )


@pytest.mark.parametrize(("inputs", "level", "within_ms"), [(EMPTY, None, None), (FOUR, 0, 5.0)])
def test_what_is_refused_stands_for_no_reference(governor, clock, inputs, level, within_ms):
    """Else the first size would be one that never ran, and every other be scaled by it."""
    known = governor.controller
    with pytest.raises(InputError):
        governor.begin(inputs, level, within_ms)

    assert governor.controller is known
    assert _run(governor, clock, 8.0) is not None
    assert governor.controller is known


def test_a_clock_that_is_set_back_or_tells_no_time_teaches_nothing(governor, clock):
    clock.now_s = 100.0
    assert _run(governor, clock, -50.0) is None
    assert _run(governor, clock, float("nan")) is None

    assert governor.controller.state.runs == 0


def test_levels_that_cannot_be_loaded_are_left_out_until_none_is_left(governor):
    assert governor.leave_out(2, "cannot be read")
    assert (governor.controller.level, governor.controller.decision.reason) == (1, Reason.UNLOADABLE)
    assert any("cannot be read" in note for note in governor.notes)
    assert governor.leave_out(1, "cannot be read")
    assert not governor.leave_out(0, "cannot be read")


def test_memory_beyond_the_reserve_is_without_limit_where_none_is_read_and_else_counts_the_level(
    governor, clock, tmp_path
):
    assert governor.head_bytes() == float("inf")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 100000 kB\n")
    clock.now_s = 1.0
    _run(governor, clock, 8.0)

    # It was read before the run, beside 10 MB of what all levels share: the densest takes 20 MB more of it.
    reserve_bytes = governor.controller.plan.policy.reserve_bytes
    assert governor.controller.level == 2
    assert governor.head_bytes() == 102_400_000 - 20_000_000 - reserve_bytes
