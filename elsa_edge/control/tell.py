"""Read what a file of the kernel tells; one that is missing, unreadable or strange tells nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["amount", "integer", "matching", "text"]

_LONGEST_BYTES: Final = 1 << 16


def text(path: Path) -> str:
    """Return what is in a file, or nothing; a path that cannot be (with a NUL in it) has nothing.

    One plain read, which the kernel answers with all that it has: buffers and decoders cost several times as much.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        return os.read(file, _LONGEST_BYTES).decode("ascii", errors="replace")
    except OSError:
        return ""
    finally:
        os.close(file)


def integer(words: str) -> int | None:
    """Return a whole number; one beyond what 64 bits hold is nonsense."""
    try:
        found = int(words)
    except ValueError:
        return None
    return found if -(2**63) <= found < 2**63 else None


def amount(words: str) -> int | None:
    """Return an amount; one below zero, or beyond what 64 bits hold, is nonsense."""
    found = integer(words)
    return found if found is not None and found >= 0 else None


def matching(root: Path, pattern: str) -> list[Path]:
    """Return the files below a root that match a pattern."""
    try:
        return list(root.glob(pattern))
    except (OSError, ValueError, NotImplementedError):  # an absolute or empty pattern finds nothing
        return []
