"""What a shared library asks of the loader, as readelf tells it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["facts", "foreign_symbols"]


def _readelf(library: Path, *options: str) -> str:
    command = ["readelf", "--wide", *options, str(library)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _undefined(library: Path) -> set[str]:
    """Return the names that a library looks for in others."""
    rows = (line.split() for line in _readelf(library, "--dyn-syms").splitlines())
    return {row[7].partition("@")[0] for row in rows if len(row) > 7 and row[6] == "UND"}


def facts(library: Path) -> dict[str, Any]:
    """Return the libraries it needs, the smallest alignment of what is loaded, its name, exports and size."""
    dynamic = _readelf(library, "--dynamic")
    segments = re.findall(
        r"^\s+LOAD\s.*\s0x([0-9a-f]+)$", _readelf(library, "--program-headers"), re.MULTILINE
    )
    exported = (line.split() for line in _readelf(library, "--dyn-syms").splitlines())
    return {
        "needed": re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic),
        "aligned_bytes": min(int(alignment, 16) for alignment in segments),
        "exports": sorted(row[7] for row in exported if len(row) > 7 and row[6] not in {"UND", "Ndx"}),
        "undefined": len(_undefined(library)),
        "size_bytes": library.stat().st_size,
    }


def foreign_symbols(library: Path, *, known_from: Path) -> list[str]:
    """Return the names that a library needs and another one, which is known to load on Android, does not."""
    return sorted(_undefined(library) - _undefined(known_from))
