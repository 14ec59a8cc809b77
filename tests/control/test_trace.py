"""Traces: scenarios, CSV files and their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsa_edge.control.trace import SCENARIOS, Sample, read_trace, scenario
from elsa_edge.errors import InputError, UnknownNameError


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("runs", [1, 2, 7, 100])
def test_a_scenario_has_the_length_asked_for_and_is_repeatable(name, runs):
    """The same arguments give the same trace; other seeds give another."""
    samples = scenario(name, runs, seed=1)

    assert len(samples) == runs
    assert samples == scenario(name, runs, seed=1) != scenario(name, runs, seed=2)
    assert all(sample.slowdown > 0.0 for sample in samples)


def test_an_unknown_scenario_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Nearest: 'burst'"):
        scenario("burts", 10)


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str) -> Path:
        path = tmp_path / "trace.csv"
        path.write_text(text)
        return path

    return write_file


def test_slow_downs_are_read_with_what_else_is_known(write):
    path = write(" slowdown , available_mb,temperature_c\n1.5,100,-5\n2,,\n")

    assert read_trace(path, [1.0]) == [Sample(1.5, 0.0, 1e8, None, -5.0), Sample(2.0)]


def test_recorded_latencies_become_slow_downs(write):
    """10 ms at level 1, which takes 4 ms, is 2.5 times as slow."""
    path = write("level,latency_ms,idle_ms,pressure_percent\n1,10,7,3\n0,2,0,\n")

    assert read_trace(path, [2.0, 4.0]) == [Sample(2.5, 7.0, None, 3.0), Sample(1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slow\n1\n", "unknown column 'slow'.*Nearest: 'slowdown'"),
        ("available_mb\n1\n", "needs other columns.*found available_mb"),
        ("latency_ms\n1\n", "needs other columns"),
        ("slowdown,slowdown\n1,1\n", "needs other columns"),
        ("", "found none"),
        ("slowdown\n", "is empty"),
        ("slowdown\n1\nx\n", "line 3: slowdown must be a number from 0 to 1e\\+12.*'x'"),
        ("slowdown\n1\n1e308\n", "line 3: slowdown must be a number from 0 to 1e\\+12.*'1e308'"),
        ("slowdown\n-1\n", "line 2: slowdown must be a number"),
        ("slowdown\nnan\n", "line 2: slowdown must be a number"),
        ("slowdown\n0\n", "line 2: a run takes some time"),
        ("slowdown\n1,2\n", "line 2: more cells than columns"),
        ("slowdown,idle_ms\n,1\n", "a run needs a slowdown"),
        ("level,latency_ms\n2,1\n", "no such level: expected 0 to 1"),
        ("level,latency_ms\n0.5,1\n", "no such level"),
        ('slowdown\n"1\n', "cannot be read"),
    ],
)
def test_a_mistake_in_a_trace_is_told_with_its_line(write, text, message):
    with pytest.raises(InputError, match=message):
        read_trace(write(text), [1.0, 2.0])


def test_a_missing_trace_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "none.csv", [1.0])
