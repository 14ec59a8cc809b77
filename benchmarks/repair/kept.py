"""Runs that are finished are kept, and a repair that was stopped goes on: the machine may be taken away any time."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["FOLDER", "Row", "kept", "state_of"]

Row = dict[str, Any]
FOLDER: Final = Path(__file__).parents[2] / ".cache" / "benchmarks" / "repair"
_NAME: Final = "finished.jsonl"


def kept(
    make: Callable[..., list[Row]], *, finished: bool = False, folder: Path | None = None, **arguments: Any
) -> list[Row]:
    """Return the rows of a run, from the file of finished ones where they are; with `finished` only from there."""
    folder = folder or FOLDER
    key = json.dumps([make.__name__, arguments], sort_keys=True)
    for line in _lines(folder):
        found = json.loads(line)
        if found["key"] == key:
            rows: list[Row] = found["rows"]
            return rows
    if finished:
        return []
    print(f"{key} ...", file=sys.stderr, flush=True)
    rows = make(**arguments)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NAME).open("a") as file:  # several runs may end at once: one short line each
        file.write(json.dumps({"key": key, "rows": rows}) + "\n")
    return rows


def _lines(folder: Path) -> list[str]:
    path = folder / _NAME
    return path.read_text().splitlines() if path.is_file() else []


def state_of(**arguments: Any) -> Path:
    """Return the file in which the repair of a run keeps its work."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]
    return FOLDER / f"{name}.state"
