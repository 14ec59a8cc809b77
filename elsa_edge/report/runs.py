"""Read a recorded run (`elsa-edge run --record FILE.csv`) as the timeline of a report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elsa_edge.control.record import ORIGIN_COLUMNS
from elsa_edge.errors import InputError, UsageError
from elsa_edge.report.record import LevelFact, Record, Run, now_utc

__all__ = ["Recorded", "from_runs", "read_runs", "thinned", "with_runs"]

_NEEDED: Final = ("level", "latency_ms")
_LARGEST_BYTES: Final = 256 << 20
_MOST_RUNS: Final = 2_000
_MOST_LEVELS: Final = 255


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording: its runs in order, and the bundle and device that it is of; None in a recording that does not say.

    Recordings made before elsa-edge wrote these down, and traces made by hand, do not say.
    """

    runs: tuple[Run, ...]
    bundle: str | None
    device: str | None


def with_runs(record: Record, path: Path) -> Record:
    """Return a record with a recorded run in it.

    Raises:
        InputError: When the file is no whole recorded run, or of another bundle or device.
    """
    found = read_runs(path, len(record.levels))
    if None not in (record.bundle, found.bundle) and record.bundle != found.bundle:
        raise InputError(
            f"The run {path} was recorded with another bundle",
            expected=f"the bundle {str(record.bundle)[:12]}",
            found=str(found.bundle)[:12],
            fix="Record this one: elsa-edge run BUNDLE --record FILE.csv, or give the bundle that ran",
        )
    if found.device is not None and found.device != record.device:
        raise InputError(
            f"The run {path} was recorded on another device",
            expected=record.device,
            found=found.device,
            fix="Give that device's profile, too, or name it with --device",
        )
    return record.model_copy(update={"runs": found.runs, "runs_bundle": found.bundle})


def from_runs(paths: Sequence[Path]) -> Record:
    """Return what a recorded run says without its bundle: the levels have numbers, and nothing else is known of them.

    Raises:
        InputError: When the file is no whole recorded run.
        UsageError: When there is none.
    """
    if not paths:
        raise UsageError(
            "There is nothing to report",
            expected="a bundle, a profile (.yaml), a recorded run (.csv) or a report (.json)",
        )
    found = read_runs(paths[0], _MOST_LEVELS)
    count = max(run.level for run in found.runs) + 1
    return Record(
        name=paths[0].stem,
        device=found.device or "a device that is not named",
        bundle=found.bundle,
        made_utc=now_utc(),
        levels=tuple(LevelFact(name=f"level {level}") for level in range(count)),
        runs=found.runs,
        runs_bundle=found.bundle,
    )


def read_runs(path: Path, levels: int) -> Recorded:
    """Return the runs in order, with the time at which each ended, and where they come from.

    A long recording is thinned to every n-th run, so that the page stays small; changes of level are kept.

    Args:
        path: The CSV file.
        levels: How many levels there are.

    Raises:
        InputError: When the file is missing, cut off, or holds something else; names the line.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"{path} is too large for a report", expected="at most 256 MB")
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = reader.fieldnames or ()
            absent = [name for name in _NEEDED if name not in columns]
            if absent:
                raise InputError(
                    f"{path} is not a recorded run",
                    expected=f"columns {', '.join(_NEEDED)}",
                    found=", ".join(columns) or "an empty file",
                    fix="Make one: elsa-edge run BUNDLE --seconds 60 --record run.csv",
                )
            found: list[Run] = []
            origins: dict[str, set[str]] = {name: set() for name in ORIGIN_COLUMNS}
            at_ms = 0.0
            for row in reader:
                run = _run(row, at_ms, len(columns), f"{path}, line {reader.line_num}", levels)
                at_ms = run.at_ms
                found.append(run)
                for name, said in origins.items():
                    said.add(row.get(name) or "")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The recorded run {path} cannot be read ({error})") from error
    if not found:
        raise InputError(f"The recorded run {path} is empty", expected="a header line and one line per run")
    bundle, device = (_one(path, name, said) for name, said in origins.items())
    return Recorded(thinned(found), bundle, device)


def _one(path: Path, name: str, said: set[str]) -> str | None:
    """Return what a recording says about its origin, which must be one thing; None where it says nothing."""
    named = sorted(said - {""})
    if len(named) > 1:
        raise InputError(
            f"The recorded run {path} is of more than one {name}",
            found=", ".join(one[:12] for one in named),
            fix="Report each recording by itself",
        )
    return named[0] if named else None


def _run(row: dict[str, str | None], before_ms: float, columns: int, where: str, levels: int) -> Run:
    if any(value is None for value in row.values()) or len(row) != columns:
        raise InputError(f"{where} is cut off", fix="Remove the last line if the recording was interrupted")
    try:
        level, latency_ms = int(row["level"] or ""), float(row["latency_ms"] or "")
        idle_ms = float(row.get("idle_ms") or 0.0)
        free = row.get("available_mb")
        available_mb = float(free) if free else None
    except ValueError as error:
        raise InputError(f"{where} holds something that is not a number ({error})") from error
    if not 0 <= level < levels or not latency_ms > 0 or not idle_ms >= 0:
        raise InputError(
            f"{where} cannot be",
            expected=f"a level of 0 to {levels - 1} and times above 0",
            found=f"level {level}, {latency_ms:g} ms after {idle_ms:g} ms",
        )
    return Run(
        at_ms=before_ms + idle_ms + latency_ms,
        level=level,
        latency_ms=latency_ms,
        reason=row.get("reason") or None,
        available_mb=available_mb,
        late=row["late"] == "1" if row.get("late") else None,
    )


def thinned(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return every n-th run so that a page stays small, and every run that changed the level."""
    every = -(-len(runs) // _MOST_RUNS)
    if every == 1:
        return tuple(runs)
    return tuple(
        run
        for place, run in enumerate(runs)
        if place % every == 0 or place + 1 == len(runs) or run.level != runs[place - 1].level
    )
