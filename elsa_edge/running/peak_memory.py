"""How much resident memory a piece of work needs at its worst moment: what a device must have to do the same.

Linux counts it for every process and lets the count begin anew; elsewhere nothing is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peak", "watch_peak"]


@dataclass
class Peak:
    """What was found.

    Attributes:
        grown_bytes: By how much resident memory grew at most; None while the work goes on, and where nothing counts.
    """

    grown_bytes: int | None = None


@contextlib.contextmanager
def watch_peak() -> Iterator[Peak]:
    """Yield a `Peak` that is filled in when the block ends, with or without an error."""
    peak = Peak()
    before = _begin()
    try:
        yield peak
    finally:
        if before is not None:
            peak.grown_bytes = max(0, _status_bytes("VmHWM") - before)


def _begin() -> int | None:
    """Forget the peak so far and return the resident bytes, or None where this system does not count."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status_bytes("VmRSS")
    except OSError:
        return None


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")
