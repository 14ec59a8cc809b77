"""Where there is no terminal a long command writes lines; on one, a bar that leaves nothing behind."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.bundles import bundle

from elsa_edge.cli import VERBS, cli
from elsa_edge.cli._interrupted import sentence
from elsa_edge.cli._progress import bar, telling
from elsa_edge.progress import Told, part, told
from elsa_edge.session import AdaptiveSession


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


def test_lines_that_know_how_far_the_work_is_fill_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the line stays and the bar shows the share; in a pipe there are only lines; with --json nothing."""
    for terminal, silent in ((True, False), (False, False), (True, True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr("elsa_edge.cli._progress.wants_json", lambda silent=silent: silent)
        with telling("building") as tell:
            tell("one line")
            part(tell, 0.5, 1.0)(told("another", 0.5))
        said = capsys.readouterr()
        assert said.out == ""
        assert ("one line" in said.err) == ("another" in said.err) == (not silent)
        assert silent or said.err.index("one line") < said.err.index("another")
        if not terminal:
            assert said.err == "one line\nanother\n"


def test_a_part_of_the_work_lies_between_two_shares() -> None:
    heard: list[str] = []
    part(part(heard.append, 0.5, 1.0), 0.0, 0.5)(told("deep", 1.0))
    part(heard.append, 0.5, 1.0)("plain")
    assert heard == ["deep", "plain"]
    assert isinstance(heard[0], Told)
    assert heard[0].share == 0.75
    assert not isinstance(heard[1], Told)
    assert told("much", 7.0).share == 1.0


@pytest.mark.parametrize("verb", [*VERBS, None])
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(verb: str | None) -> None:
    said = sentence(verb)
    assert said.startswith("Stopped. ")
    assert re.search(r"same command|kept", said)


def test_ctrl_c_ends_a_run_with_its_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What ran until then is told and recorded; the exit status is that of a stopped program."""
    runs = 0
    real = AdaptiveSession.run

    def run(self: AdaptiveSession, *given: Any, **more: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > 5:
            raise KeyboardInterrupt
        return real(self, *given, **more)

    monkeypatch.setattr(AdaptiveSession, "run", run)
    trace = tmp_path / "run.csv"
    words = ["run", str(bundle("conv")), "--seconds", "30", "--record", str(trace), "--cache", str(tmp_path)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 130
    assert "5 runs" in done.stdout
    assert "Stopped. What --record and --log had written is kept" in done.stderr
    assert len(trace.read_text().splitlines()) == 6
