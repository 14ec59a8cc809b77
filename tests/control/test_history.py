"""What a session remembers of its runs."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.control.history import ChosenBy, History, RunEvent
from elsa_edge.control.state import Decision, Reason

DECISION = Decision(1, Reason.HOLD, True, 3.0, 1.0, 0.0)
INFEASIBLE = Decision(0, Reason.INFEASIBLE_LATENCY, False, 30.0, 9.0, 1.0)


def event(
    level: int, latency_ms: float, limit_ms: float | None = 10.0, decision: Decision = DECISION
) -> RunEvent:
    return RunEvent(0.0, level, ChosenBy.CONTROLLER, latency_ms, limit_ms, 0.0, None, None, None, decision)


def test_before_the_first_run_there_are_no_figures() -> None:
    stats = History(["s90", "dense"]).stats()

    assert (stats.runs, stats.late_share, stats.p50_ms, stats.last) == (0, 0.0, None, None)
    assert [level.name for level in stats.levels] == ["s90", "dense"]


def test_runs_are_counted_by_level_reason_and_chooser() -> None:
    history = History(["s90", "dense"])
    for one in (event(1, 8.0), event(1, 12.0, decision=INFEASIBLE), event(0, 2.0), event(0, 3.0, None)):
        history.add(one)
    stats = history.stats()

    assert (stats.runs, stats.late, stats.switches, stats.infeasible) == (4, 1, 1, 1)
    assert [(k.runs, k.late, k.busy_ms) for k in stats.levels] == [(2, 0, 5.0), (2, 1, 20.0)]
    assert stats.reasons == {"hold": 3, "infeasible-latency": 1}
    assert stats.chosen_by == {"controller": 4}
    assert stats.last == event(0, 3.0, None)


@pytest.mark.parametrize(("limit_ms", "late"), [(None, False), (9.9, True), (10.0, False)])
def test_a_run_is_late_when_it_took_longer_than_it_had(limit_ms: float | None, late: bool) -> None:
    assert event(0, 10.0, limit_ms).late is late


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60))
def test_percentiles_are_latencies_that_were_seen_in_order(latencies_ms: list[float]) -> None:
    history = History(["only"])
    for latency in latencies_ms:
        history.add(event(0, latency))
    level = history.stats().levels[0]

    assert {level.p50_ms, level.p95_ms, level.p99_ms} <= set(latencies_ms)
    assert level.p50_ms <= level.p95_ms <= level.p99_ms <= max(latencies_ms)
    assert sum(latency <= level.p50_ms for latency in latencies_ms) >= len(latencies_ms) / 2


def test_only_the_latest_thousand_runs_make_the_percentiles() -> None:
    history = History(["only"])
    for latency in [100.0] * 500 + [1.0] * 1000:
        history.add(event(0, latency))

    assert (history.stats().p99_ms, history.stats().runs) == (1.0, 1500)


def test_figures_may_be_read_while_runs_are_added() -> None:
    history, failures = History(["only"]), []

    def read() -> None:
        try:
            for _ in range(200):
                stats = history.stats()
                assert stats.levels[0].runs == stats.runs
        except (AssertionError, RuntimeError) as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        history.add(event(0, 1.0))
    reader.join()

    assert failures == []
