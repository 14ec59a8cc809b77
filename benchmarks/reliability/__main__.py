"""Mutated bundles, kills, crowds, and new builds under running sessions: python -m benchmarks.reliability.

What was counted is kept in .cache/reliability and carried on by the next run: the whole takes hours on two cores.

    python -m benchmarks.reliability --part fuzz --minutes 60     count for an hour more, report everything so far
"""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import Claim, Result, at_least, at_most, benchmark
from benchmarks.reliability.corpus import build
from benchmarks.reliability.crowds import replaced, together
from benchmarks.reliability.fuzzing import FAULTS, Fuzzer
from benchmarks.reliability.kills import VERBS, killed
from benchmarks.reliability.opening import compared
from benchmarks.reliability.small import prepare
from elsa_edge.files import write_bytes

_STATE: Final = Path(".cache/reliability")
_MUTATIONS: Final = 10_000
_KILLS: Final = 200
_KILLS_AT_ONCE: Final = 4
_PROCESSES: Final = 7
_SLICE_S: Final = 20.0  # what is counted is written down so often
_CROWDS: Final = (("processes", 8), ("threads", 8), ("namespaces", 4))
_CROWDED: Final = ("ort-switch", "tflite-levels")
_PARTS: Final = ("fuzz", "kills", "crowds", "replaced", "opening")


class _State:
    """What was counted so far, in a file that survives a kill."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "state.json"
        self.values = self._read()

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._file.read_text()) if self._file.is_file() else {}
        return found

    def keep(self, key: str, value: Any) -> None:
        """Remember a part; another part may be counted by another process meanwhile."""
        self.values = self._read() | {key: value}
        write_bytes(self._file, json.dumps(self.values, indent=1).encode())


def _fuzz(source: Path, state: _State, count: int, seconds: float) -> None:
    """Count mutations of both kinds in turn until there are enough or the time is at an end."""
    fuzzers = {kind: Fuzzer(source, kind) for kind in ("manifest", "data")}
    ends = time.monotonic() + seconds
    try:
        while fuzzers and time.monotonic() < ends:
            for kind, fuzzer in list(fuzzers.items()):
                known = state.values.get(f"fuzz {kind}", {"tried": 0, "counts": {}, "faults": []})
                counts = collections.Counter[str](known["counts"])
                faults = [
                    *known["faults"],
                    *fuzzer.faults(iter(range(known["tried"], count)), _SLICE_S, counts),
                ]
                tried = sum(counts.values())
                state.keep(f"fuzz {kind}", {"tried": tried, "counts": dict(counts), "faults": faults})
                if tried >= count:
                    fuzzers.pop(kind).close()
    finally:
        for fuzzer in fuzzers.values():
            fuzzer.close()


def _kills(state: _State, points: int) -> None:
    """Kill every verb a few times in turn until there are enough points."""
    work = _STATE / "kills"
    if not (work / "data.npz").is_file():
        prepare(work)
    share = -(-points // len(VERBS))
    for turn in range(-(-share // _KILLS_AT_ONCE)):
        for verb in VERBS:
            key = f"kill {verb.name}"
            known: dict[str, Any] = state.values.get(key, {"points": 0})
            if known["points"] >= min(share, (turn + 1) * _KILLS_AT_ONCE):
                continue
            more = killed(verb, work.resolve(), min(share, _KILLS_AT_ONCE), seed=known["points"])
            for what in ("points", "old", "new", "broken", "failed_again", "litter"):
                more[what] += known.get(what, 0)
            state.keep(key, more)


def _claims(values: dict[str, Any]) -> Iterable[Claim]:
    for kind in ("manifest", "data"):
        fuzz = values.get(f"fuzz {kind}")
        yield at_least(f"mutated {kind} files tried, all variants", _MUTATIONS, fuzz and float(fuzz["tried"]))
        faults = sum(fuzz["counts"].get(fault, 0) for fault in FAULTS) if fuzz else None
        yield at_most(
            f"crashes, hangs, foreign exceptions, escapes, wrong numbers accepted: {kind}", 0, faults
        )
    kills = [row for key, row in values.items() if key.startswith("kill ")]
    yield at_least("kill -9: points over all verbs", _KILLS, sum(row["points"] for row in kills) or None)
    for what in ("broken", "failed_again", "litter"):
        yield at_most(f"kill -9: {what}", 0, sum(row[what] for row in kills) if kills else None)
    crowds = [row for key, row in values.items() if key.startswith("crowd ")]
    asked = sum(int(row["crowd"].split()[0]) for row in crowds)
    yield at_least(
        "crowds on an empty cache: share that is right",
        1.0,
        sum(r["right"] for r in crowds) / asked if asked else None,
    )
    used = [row["cached_in_the_end"].startswith("used") for row in crowds]
    yield at_least("crowds: share of caches used in the end", 1.0, sum(used) / len(used) if used else None)
    openings = [row for key, row in values.items() if key.startswith("opening ")]
    for what in ("first", "again"):
        worst = max((row[f"{what}_ratio"] for row in openings), default=None)
        said = "of a process" if what == "first" else "of the same process"
        yield at_most(f"{what} opening {said}, against the other checkout, dearest variant", 1.1, worst)
    changes = [
        row["largest_change_under_a_new_build"] for key, row in values.items() if key.startswith("replaced ")
    ]
    yield at_most(
        "a new build under a running session: largest change of its answers", 0.0, max(changes, default=None)
    )


@benchmark(
    "reliability",
    click.option("--part", type=click.Choice(_PARTS), multiple=True, help="Only these; all by default."),
    click.option(
        "--before",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Another checkout, with its .venv, to compare openings with.",
    ),
    click.option("--minutes", type=float, default=60.0, help="For the mutations, of both kinds together."),
)
def main(quick: bool, part: tuple[str, ...], minutes: float, before: Path | None) -> Result:
    """Count what mutated bundles, kills, crowds and new builds do. Carries on where the last run ended."""
    parts = part or _PARTS
    folder = _STATE / ("quick" if quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    state, source = _State(folder), build(folder / "corpus")
    names = [variant["name"] for variant in json.loads((source / "manifest.json").read_text())["variants"]]
    if "replaced" in parts:
        for name in names:
            if f"replaced {name}" not in state.values:
                state.keep(f"replaced {name}", replaced(source, name))
    if "crowds" in parts:
        for variant in _CROWDED:
            for kind, count in _CROWDS:
                if f"crowd {variant} {kind}" not in state.values:
                    state.keep(f"crowd {variant} {kind}", together(source, variant, kind, count))
    if "opening" in parts and before is not None:
        for row in compared(Path.cwd(), before.resolve(), 2 if quick else _PROCESSES):
            state.keep(f"opening {row['variant']}", row)
    if "kills" in parts:
        _kills(state, 12 if quick else _KILLS)
    if "fuzz" in parts:
        _fuzz(source, state, 20 if quick else _MUTATIONS, 60.0 if quick else minutes * 60.0)
    rows = [{"part": key, **value} for key, value in state.values.items()]
    return Result(rows, tuple(_claims(state.values)))


if __name__ == "__main__":
    main()
