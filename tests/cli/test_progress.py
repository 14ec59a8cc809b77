"""Where there is no terminal a long command writes lines; on one, a bar that leaves nothing behind."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from elsa_edge.cli._progress import bar


@dataclass(frozen=True)
class Event:
    """A step of a long command."""

    step: int
    steps: int


def test_lines_without_a_terminal_a_bar_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each event goes to one of the two; stdout stays empty."""
    told: list[str] = []
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with bar(
            "working",
            describe=lambda event: told.append(f"bar {event.step}") or "at work",
            line=lambda event: told.append(f"line {event.step}"),
        ) as show:
            show(Event(1, 2))
            show(Event(2, 2))

    assert told == ["line 1", "line 2", "bar 1", "bar 2"]
    assert capsys.readouterr().out == ""
