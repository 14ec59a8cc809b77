"""Recorded runs come back as the trace they were."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from elsa_edge.control.history import ChosenBy, RunEvent
from elsa_edge.control.record import JsonLog, TraceRecorder
from elsa_edge.control.state import Decision, Reason
from elsa_edge.control.trace import Sample, read_trace
from elsa_edge.errors import InputError

DECISION = Decision(0, Reason.DOWN_LATENCY, True, None, 1.5, 0.25)
EVENTS = (
    RunEvent(100.0, 1, ChosenBy.CONTROLLER, 8.0, 10.0, 0.0, 60e6, 2.5, 51.0, DECISION),
    RunEvent(120.0, 0, ChosenBy.DEADLINE, 6.0, 5.0, 14.0, None, None, None, DECISION),
)


def test_a_recorded_trace_is_read_back_as_slow_downs(tmp_path: Path) -> None:
    """8 ms at a level that takes 4 is 2 times as slow; with the smallest level 30 MB more would be free."""
    with TraceRecorder(tmp_path / "t.csv", [20_000_000, 50_000_000], bundle="ab" * 32) as record:
        for one in EVENTS:
            record(one)
    header, *rows = csv.reader((tmp_path / "t.csv").read_text().splitlines())
    assert all(len(row) == len(header) for row in rows)
    assert [dict(zip(header, row, strict=True))["bundle"] for row in rows] == ["ab" * 32, ""]

    assert read_trace(tmp_path / "t.csv", [3.0, 4.0]) == [
        Sample(2.0, 0.0, 90e6, 2.5, 51.0),
        Sample(2.0, 14.0),
    ]


def test_lines_are_on_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    record = TraceRecorder(tmp_path / "t.csv", [1])
    record(EVENTS[1])

    assert len((tmp_path / "t.csv").read_text().splitlines()) == 2
    record.close()


def test_the_log_has_one_object_a_run_with_the_decision_inside(tmp_path: Path) -> None:
    with JsonLog(tmp_path / "log.jsonl") as log:
        for one in EVENTS:
            log(one)
    first, second = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())

    assert first["decision"] == {
        "level": 0,
        "reason": "down-latency",
        "feasible": True,
        "predicted_ms": None,
        "slowdown": 1.5,
        "miss_rate": 0.25,
    }
    assert (second["late"], second["chosen_by"], second["available_bytes"]) == (True, "deadline", None)


@pytest.mark.parametrize("make", [JsonLog, lambda path: TraceRecorder(path, [1])])
def test_nothing_is_written_over(make, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(InputError, match="exists already"):
        make(tmp_path / "kept")
    with pytest.raises(InputError, match="cannot be written"):
        make(tmp_path / "none" / "file")

    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_full_disk_ends_the_file_after_its_last_whole_line_and_nothing_else(tmp_path: Path) -> None:
    """Another process, because a limit on the size of files is one's own for ever."""
    code = f"""
import csv, json, resource, signal
from pathlib import Path
from elsa_edge.control.history import ChosenBy, RunEvent
from elsa_edge.control.record import JsonLog, TraceRecorder
from elsa_edge.control.state import Decision, Reason

resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
decision = Decision(0, Reason.HOLD, True, None, 1.5, 0.2)
event = RunEvent(1.0, 0, ChosenBy.CONTROLLER, 8.0, 10.0, 0.0, 6e7, 2.5, 51.0, decision)
folder = Path({str(tmp_path)!r})
with JsonLog(folder / "l.jsonl") as log, TraceRecorder(folder / "t.csv", [1]) as trace:
    for _ in range(100):
        log(event)
        trace(event)
assert log.problem == f"{{folder / 'l.jsonl'}} cannot be written any more (File too large) and ends here.", log.problem
assert "t.csv cannot be written any more" in trace.problem
lines = (folder / "l.jsonl").read_text().splitlines()
assert 1 < len(lines) < 100 and all(json.loads(line)["level"] == 0 for line in lines)
rows = list(csv.reader((folder / "t.csv").read_text().splitlines()))
assert 1 < len(rows) < 100 and len(rows[-1]) == len(rows[0])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_log_that_was_closed_says_so_and_raises_nothing(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "l.jsonl")
    log.close()
    log(EVENTS[0])
    assert log.problem == f"{tmp_path / 'l.jsonl'} was closed; what ran since is not in it."
