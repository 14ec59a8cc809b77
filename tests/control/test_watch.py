"""A clock that never goes back, and readings once an interval."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_edge.control.watch import SteadyClock, Watch
from elsa_edge.profiles.schema import Probes


@given(told=st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_whatever_a_clock_tells_time_goes_on(told):
    """And as fast as the clock does, between the moments at which it is set back."""
    steps = iter(told)
    clock = SteadyClock(lambda: next(steps))
    found = [clock.now_ms() for _ in told]

    for (before, after), (a, b) in zip(pairwise(found), pairwise(told), strict=True):
        assert after - before == pytest.approx(max(0.0, 1e3 * (b - a)), abs=1e-3)


def test_what_is_no_number_is_passed_on_and_forgotten():
    told = iter([1.0, math.nan, math.inf, 2.0])
    clock = SteadyClock(lambda: next(told))

    assert clock.now_ms() == 1000.0
    assert math.isnan(clock.now_ms())
    assert clock.now_ms() == math.inf
    assert (clock.now_ms(), clock.set_back_ms) == (2000.0, 0.0)


def test_the_device_is_read_once_an_interval(tmp_path):
    """Below a root of one's own there is no trigger: its files are no kernel's."""
    (tmp_path / "proc").mkdir()
    meminfo = tmp_path / "proc/meminfo"
    watch = Watch(Probes(root=str(tmp_path), interval_ms=100), 10.0)
    found = []
    for now_ms, kilobytes in ((0.0, 1), (99.0, 2), (100.0, 3), (150.0, 4), (260.0, 5)):
        meminfo.write_text(f"MemAvailable: {kilobytes} kB\n")
        due = watch.is_due(now_ms)
        found.append((due, watch.read(now_ms).available_bytes))
    watch.close()

    assert found == [(False, 1024), (False, 1024), (True, 3072), (False, 3072), (True, 5120)]


def test_a_reading_serves_other_levels_than_the_one_in_use_when_it_was_taken(tmp_path):
    """10 kB were free beside a level of 5: 14 are beside one of 1, and none beside one of 40."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 10 kB\n")
    watch = Watch(Probes(root=str(tmp_path), interval_ms=100), 10.0)
    assert watch.free_bytes(0) is None
    watch.in_use_bytes = 5 * 1024
    watch.read(0.0)
    watch.in_use_bytes = 1024
    watch.read(50.0)
    found = [watch.free_bytes(need * 1024) for need in (1, 5, 40)]
    watch.close()

    assert found == [14 * 1024, 10 * 1024, 0]
