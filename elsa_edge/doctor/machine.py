"""What is looked at, and what a fact looks like; a test replaces each source of facts by one of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from elsa_edge.loading import default_cache

__all__ = ["Finding", "Machine", "Start", "State"]

_LONGEST_START_S: Final = 300

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact.

    Attributes:
        what: What was looked at.
        found: What was found.
        state: "ok", "note" (works, but may disappoint) or "problem" (networks will not run).
        advice: What to do, for a note or a problem.
    """

    what: str
    found: str
    state: State = "ok"
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """How the import of a module ended in a process of its own.

    Attributes:
        status: 0, a positive exit status, or minus the number of the signal that killed it.
        said: The last line that it wrote.
    """

    status: int
    said: str = ""


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _start(module: str) -> Start:
    """Import a module in a child: an instruction that this processor lacks then ends the child alone."""
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, and a name of ours
            [sys.executable, "-P", "-c", f"import {module}"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_LONGEST_START_S,
        )
    except subprocess.TimeoutExpired:
        return Start(1, f"the import takes longer than {_LONGEST_START_S} s")
    lines = done.stderr.strip().splitlines()
    return Start(done.returncode, lines[-1] if lines else "")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the facts come from; a test gives another root, architecture or set of packages.

    Attributes:
        root: Prefix of /proc and /sys.
        architecture: As `uname -m` says it.
        python: Version of the interpreter.
        installed: Returns a package's version, or None.
        start: Tries the import of a module.
        page_bytes: Size of a memory page.
        cache: Folder of files that are derived from bundles; None for none.
    """

    root: Path = Path("/")
    architecture: str = platform.machine()
    python: tuple[int, ...] = sys.version_info[:3]
    installed: Callable[[str], str | None] = _installed
    start: Callable[[str], Start] = _start
    page_bytes: int = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    cache: Path | None = field(default_factory=default_cache)

    def text(self, path: str) -> str:
        """Return a file below the root; empty when there is none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def cores(self) -> int:
        """Processors that are on."""
        lines = self.text("proc/cpuinfo").splitlines()
        return sum(line.startswith("processor") for line in lines) or os.cpu_count() or 1
