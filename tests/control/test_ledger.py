"""Two controllers that share one memory: with a ledger they do not oscillate."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.control import Controller, LevelFacts, Observation, Policy, make_plan
from elsa_edge.control.ledger import SETTLE_MS, Ledger, decide_together
from elsa_edge.control.state import Reason
from elsa_edge.errors import InputError
from elsa_edge.files.locks import Lock

MB = 1_000_000
LEVELS = [LevelFacts(name=name, memory_bytes=size * MB) for name, size in (("sparse", 20), ("dense", 60))]
POLICY = Policy(reserve_bytes=10 * MB, hysteresis_bytes=4 * MB)
INTERVAL_MS = 250.0


def two_on_one_memory(
    free_mb: float,
    runs: int,
    ledgers: Sequence[Ledger | None],
    clock: list[float],
    jitter_ms: tuple[float, float],
) -> tuple[list[int], list[list[int]], int]:
    """Return switches, levels and runs short of memory of two sessions that read the same free memory in turns."""
    plan = make_plan(LEVELS, POLICY)
    members = [Controller(plan, available_bytes=None) for _ in ledgers]
    for member in members:  # both begin at the sparse level
        member.observe(Observation(now_ms=0.0, available_bytes=0.0))
    sizes = [level.memory_bytes or 0 for level in LEVELS]
    read, read_ms = [0.0, 0.0], [-INTERVAL_MS, -INTERVAL_MS]
    loaded = [sizes[member.level] for member in members]
    switches, levels, short = [0, 0], [[], []], 0
    for run in range(runs):
        for k, (member, ledger) in enumerate(zip(members, ledgers, strict=True)):
            clock[0] = run * 33.0 + jitter_ms[k]
            loaded[k] = sizes[member.level]  # what the level needs is taken when it runs
            free = free_mb * MB + 2 * sizes[0] - sum(loaded)
            short += free < POLICY.reserve_bytes
            if clock[0] - read_ms[k] >= INTERVAL_MS:
                read[k], read_ms[k] = free, clock[0]
            seen = Observation(now_ms=clock[0], level=member.level, latency_ms=5.0, available_bytes=read[k])
            before = member.level
            if ledger is None:
                member.observe(seen)
            else:
                decide_together(member, seen, ledger)
            switches[k] += member.level != before
            levels[k].append(member.level)
    return switches, levels, short


def shared(path: Path, clock: list[float]) -> list[Ledger]:
    return [Ledger(path, clock_ms=lambda: clock[0]) for _ in range(2)]


def test_without_a_ledger_two_sessions_take_and_give_back_the_same_memory(tmp_path):
    """Room for one dense level only: both take it, both run short, both give it back, and try again."""
    alone, _, short_alone = two_on_one_memory(60, 1000, [None, None], [0.0], (0.0, 10.0))
    clock = [0.0]
    together, levels, short = two_on_one_memory(
        60, 1000, shared(tmp_path / "ledger", clock), clock, (0.0, 10.0)
    )

    assert min(alone) >= 3
    assert short_alone > 10
    assert sum(together) == 1
    assert sorted((levels[0][-1], levels[1][-1])) == [0, 1]
    assert short == 0


@given(
    free_mb=st.floats(0.0, 200.0),
    jitter=st.tuples(st.floats(0.0, 16.0), st.floats(16.1, 32.0)),
)
def test_whatever_memory_is_free_two_members_settle(tmp_path_factory, free_mb, jitter):
    """Each changes at most once, neither is ever short, and what fits is used."""
    clock = [0.0]
    path = tmp_path_factory.mktemp("shared") / "ledger"
    switches, levels, short = two_on_one_memory(free_mb, 400, shared(path, clock), clock, jitter)

    assert max(switches) <= 1
    assert short == 0 or free_mb * MB < POLICY.reserve_bytes
    fits = sum(free_mb >= needed for needed in (40 + 14 + 0.1, 80 + 14 + 0.1))
    assert levels[0][-1] + levels[1][-1] >= fits


def test_the_one_that_is_second_waits_until_the_first_change_has_settled(tmp_path):
    """A turn is refused while another's is new, taken afterwards, and one's own never stands in the way."""
    clock = [1000.0]
    first, second = shared(tmp_path / "ledger", clock)
    assert first.claim()
    assert first.claim()
    assert second.others_settle()
    assert not second.claim()
    clock[0] += SETTLE_MS
    assert second.claim()
    assert first.others_settle()


def test_a_level_that_is_too_slow_is_left_whoever_has_the_turn(tmp_path):
    """Latency does not wait for memory's turn, and the others hear of the change."""
    clock = [0.0]
    first, second = shared(tmp_path / "ledger", clock)
    facts = [
        LevelFacts(name=n, p50_ms=ms, memory_bytes=size * MB)
        for n, ms, size in (("s", 5.0, 20), ("d", 20.0, 60))
    ]
    member = Controller(make_plan(facts, Policy(budget_ms=30.0, discard_runs=0)))
    assert member.level == 1
    assert first.claim()
    reason = None
    for run in range(5):
        clock[0] = 33.0 * (run + 1)
        if member.level == 0:
            break
        seen = Observation(now_ms=clock[0], level=1, latency_ms=60.0, available_bytes=0.0)
        reason = decide_together(member, seen, second).reason
    assert (member.level, reason) == (0, Reason.DOWN_LATENCY)
    assert first.others_settle()


NONSENSE = [
    "nonsense",
    "python 3.11\n",
    "0123456789abcdef 3.11\n",
    "abc def\n",
    "x 1e999\n",
    "x nan\n",
    "\xff\xfe",
    "format: 2\n" * 500,
]


@pytest.mark.parametrize("content", ["", *NONSENSE])
def test_a_ledger_that_becomes_nonsense_stops_nobody(tmp_path, content):
    """What is in the file was written by others; only a time just passed counts."""
    path = tmp_path / "ledger"
    ledger = Ledger(path, clock_ms=lambda: 5000.0)
    path.write_text(content, encoding="latin-1")
    assert not ledger.others_settle()
    assert ledger.claim()


@pytest.mark.parametrize("content", NONSENSE)
def test_a_file_that_is_no_ledger_is_not_taken_for_one(tmp_path, content):
    """A profile named by mistake would be overwritten at the first change of level."""
    path = tmp_path / "profile.yaml"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"is no ledger, and would be overwritten.*Name another file"):
        Ledger(path)
    assert path.read_text(encoding="latin-1") == content


def test_a_time_of_before_a_restart_of_the_machine_is_over(tmp_path):
    """Monotonic clocks begin anew: a later time than now is an old one."""
    path = tmp_path / "ledger"
    path.write_text(f"{0:016x} 90000.000\n")
    assert not Ledger(path, clock_ms=lambda: 100.0).others_settle()


def test_a_member_that_was_stopped_with_the_lock_stops_nobody(tmp_path):
    """SIGSTOP, a debugger, a frozen control group: nobody waits, and after the settling time its turn is over."""
    clock = [5000.0]
    ledger = Ledger(tmp_path / "ledger", clock_ms=lambda: clock[0])
    held = Lock.take(tmp_path / "ledger")
    assert held is not None
    with held:
        assert not ledger.claim()
        ledger.announce()
        clock[0] += SETTLE_MS
        assert ledger.claim()
        clock[0] += 1.0
        assert ledger.claim()  # it is waited for once, not at every change
    assert ledger.claim()
    with Lock.take(tmp_path / "ledger"):
        assert not ledger.claim()  # another that is about to write: its turn begins anew


def test_a_ledger_that_cannot_be_written_is_refused_in_words(tmp_path):
    """Said when the session is opened, not at its first change."""
    with pytest.raises(InputError, match="cannot be used"):
        Ledger(tmp_path / "absent" / "ledger")


@pytest.mark.parametrize("path", ["/dev/null", "led\0ger"])
def test_what_keeps_nothing_is_no_ledger(path):
    with pytest.raises(InputError, match=r"is no file|cannot be used"):
        Ledger(Path(path))


def test_a_turn_is_written_in_place_of_the_last_one(tmp_path):
    """A member that is killed while it writes leaves the one line or the other: all have one length."""
    path, clock = tmp_path / "ledger", [5.0]
    one, other = (Ledger(path, clock_ms=lambda: clock[0]) for _ in range(2))
    assert one.claim()
    size, place = path.stat().st_size, path.stat().st_ino
    clock[0] = 9e8
    assert other.claim()
    assert (path.stat().st_size, path.stat().st_ino) == (size, place)
    assert Ledger(path, clock_ms=lambda: clock[0]).others_settle()


def test_a_ledger_that_is_lost_is_told(tmp_path):
    """The session runs on by itself."""
    folder = tmp_path / "run"
    folder.mkdir()
    ledger = Ledger(folder / "ledger")
    (folder / "ledger").unlink()
    folder.rmdir()

    assert ledger.problem is None
    assert ledger.claim()
    assert "cannot be written any more" in ledger.problem


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name there")
@pytest.mark.timeout(30)
def test_a_pipe_in_a_ledger_s_place_holds_up_nobody(tmp_path):
    """Nobody reads or writes at its other end: opened to wait, a run would wait for ever."""
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    path.unlink()
    os.mkfifo(path)

    assert not ledger.others_settle()
    assert ledger.claim()
    assert "cannot be written any more" in ledger.problem


def _claim_often(path: str, all_ready: Barrier, granted: multiprocessing.Queue[float]) -> None:
    ledger = Ledger(Path(path))
    all_ready.wait(120)
    start = time.monotonic()
    while time.monotonic() < start + 0.4:
        if ledger.claim():
            granted.put(time.monotonic())
            return


def test_processes_that_claim_at_once_get_one_turn(tmp_path):
    """Four processes, one file, the same moment: one is granted within the settling time."""
    context = multiprocessing.get_context("spawn")
    granted = context.Queue()
    all_ready = context.Barrier(4)
    members = [
        context.Process(target=_claim_often, args=(str(tmp_path / "ledger"), all_ready, granted))
        for _ in range(4)
    ]
    for member in members:
        member.start()
    for member in members:
        member.join(120)
    assert granted.qsize() == 1
