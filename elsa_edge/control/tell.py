"""Read what a file of the kernel tells; one that is missing, unreadable or strange tells nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["amount", "integer", "matching", "text"]

_LONGEST_CHARACTERS: Final = 1 << 16


def text(path: Path) -> str:
    """Return what is in a file, or nothing; a path that cannot be (with a NUL in it) has nothing."""
    try:
        with path.open(encoding="ascii", errors="replace") as stream:
            return stream.read(_LONGEST_CHARACTERS)
    except (OSError, ValueError):
        return ""


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
