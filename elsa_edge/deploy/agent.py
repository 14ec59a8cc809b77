"""Speak with the device's side: a verb and its settings become a shell script, its lines become a reply. Pure.

A script is settings and functions:

NAME='value' ...        settings, quoted for any POSIX shell
agent.sh                functions; its last line calls the one that VERB names
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["ABANDONED_S", "Reply", "functions_of", "parse_reply", "patience_s", "script"]

ABANDONED_S: Final = 900
"""Seconds of silence after which a lock's owner counts as dead."""

_MARK: Final = "@elsa "
_MAIN: Final = "elsa_main"
_FUNCTION: Final = re.compile(r"(\w+)\(\) \{")
_SETTINGS: Final = (
    "VERB", "ROOT", "TOKEN", "OWNER", "PYTHONS", "TAKE_FROM", "BASES", "BLOBS", "LIST", "RELEASE", "NAME", "LAUNCHER",
    "PROFILE", "WHEELS", "PYTHON", "PROGRAM", "TRUST", "TRIAL_S", "KEEP", "SECONDS_EACH",
)  # fmt: skip


@cache
def _functions() -> dict[str, str]:
    """Return the functions of agent.sh by name, without comments."""
    text = Path(__file__).with_name("agent.sh").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        match = _FUNCTION.match(line)
        if match is not None:
            name = match.group(1)
        if name:
            found.setdefault(name, []).append(line)
        if line == "}" or (match is not None and line.endswith(" }")):
            name = ""
    return {name: "\n".join(body) + "\n" for name, body in found.items()}


@cache
def functions_of(verb: str) -> str:
    """Return the functions that a verb needs, and the call: a script travels at every step, so it is kept short."""
    functions = _functions()
    wanted, waiting = [], [_MAIN, f"verb_{verb}"]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.append(name)
            waiting += [other for other in functions if re.search(rf"\b{other}\b", functions[name])]
    return "".join(body for name, body in functions.items() if name in wanted) + f"{_MAIN}\n"


def script(verb: str, settings: Mapping[str, str]) -> str:
    """Return the shell script that does one verb on the device.

    Args:
        verb: What follows `verb_` in agent.sh.
        settings: Values of the variables that it reads; those left out are empty.
    """
    strange = settings.keys() - set(_SETTINGS)
    if strange:
        raise KeyError(f"agent.sh has no setting {', '.join(sorted(strange))}")
    values, functions = {"VERB": verb} | dict(settings), functions_of(verb)
    read = [name for name in _SETTINGS if name in values or name in functions]
    return "".join(f"{name}={_quoted(values.get(name, ''))}\n" for name in read) + functions


def patience_s(verb: str) -> float:
    """Return how long to wait for an answer: a look is quick everywhere, proofs and measurements may be long."""
    return 300.0 if verb in ("look", "lock", "unlock") else 3600.0


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("a shell has no words with a zero byte")
    return "'" + text.replace("'", "'\\''") + "'"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the device answered.

    Attributes:
        lines: (key, value) in order.
        complete: Whether the last line arrived; without it the line broke.
        words: What it wrote to stderr, for people.
    """

    lines: tuple[tuple[str, str], ...]
    complete: bool
    words: str = field(default="", compare=False)

    @property
    def error(self) -> str | None:
        """What failed, in the device's words; None when it did what it was asked."""
        return next((value for key, value in self.lines if key == "error"), None)

    def one(self, key: str) -> str:
        """Return the last value of a key, empty when there is none."""
        return next((value for found, value in reversed(self.lines) if found == key), "")

    def all(self, key: str) -> list[str]:
        """Return every value of a key, in order."""
        return [value for found, value in self.lines if found == key]

    def json(self) -> dict[str, Any]:
        """Return the last JSON object that elsa-edge printed on the device; empty when it printed none."""
        try:
            found = json.loads("\n".join(self.all("json")) or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def parse_reply(output: str, words: str = "") -> Reply:
    """Take a reply out of what came back; other lines (a greeting of the login shell) are not ours."""
    lines = []
    for line in output.replace("\r\n", "\n").split("\n"):
        if line.startswith(_MARK):
            key, _, value = line.removeprefix(_MARK).partition(" ")
            lines.append((key, value))
    complete = bool(lines) and lines[-1][0] == "end"
    return Reply(tuple(lines), complete, words)
