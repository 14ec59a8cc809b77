"""Time one engine beside the base, in turns, in a process of its own: a slow minute hits both, a crash costs one row.

ratio of a level = p50 of the base's densest level / p50 of the level,   both from the same turns; above 1 is faster
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from elsa_edge.board.ncnn import open_ncnn
from elsa_edge.bundle import Bundle
from elsa_edge.errors import ElsaError
from elsa_edge.loading import open_adapter, open_for
from elsa_edge.measure import one_sample
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.running.children import run_child
from elsa_edge.running.rotation import order, rounds

__all__ = ["NCNN", "Request", "Timed", "open_run", "time_beside"]

NCNN: Final = "ncnn"
_WARM_UP_RUNS: Final = 2
_RUNS_A_TURN: Final = 3
_FEWEST_TURNS: Final = 2
_MOST_TURNS: Final = 400
_STARTING_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a process is asked to time.

    Attributes:
        bundle: The bundle's folder.
        base: The variant whose densest level is the base.
        variant: The variant to time at every level, or `NCNN`.
        choice: Its choice of kernels; None where it has none.
        ncnn: Folder of ncnn's network.
        threads: Threads of every engine.
        seconds: Time for all turns together.
    """

    bundle: str
    base: str
    variant: str
    choice: str | None
    ncnn: str | None
    threads: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Timed:
    """How long one level took.

    Attributes:
        level: Its number.
        p50_ms: Median.
        p95_ms: Of the slow runs.
        runs: How many there were.
        ratio: Of the base's median to this one; 1 for the base itself.
    """

    level: int
    p50_ms: float
    p95_ms: float
    runs: int
    ratio: float


def time_beside(request: Request) -> list[Timed]:
    """Time an engine in a process of its own.

    Raises:
        ElsaError: When it cannot be loaded, crashes or does not end; the row is left out then.
    """
    try:
        done = run_child(
            "elsa_edge.board.timing", [json.dumps(asdict(request))], _STARTING_S + 20 * request.seconds
        )
    except subprocess.TimeoutExpired as error:
        raise ElsaError(f"{request.variant} did not end within {error.timeout:.0f} s") from error
    if done.returncode:
        words = done.stderr.strip().splitlines()
        killed = f"it was ended by signal {-done.returncode}" if done.returncode < 0 else "it failed"
        raise ElsaError(words[-1][:500] if words and done.returncode > 0 else killed)
    return [Timed(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def open_run(
    bundle: Bundle, profile: DeviceProfile, variant: str, choice: str | None, keep: ExitStack
) -> tuple[Callable[[int], Any], int]:
    """Load a variant; return what runs one sample at a level, and how many levels there are."""
    runtime = profile.runtime.model_copy(update={} if choice is None else {"choice": choice})
    chosen = profile.model_copy(update={"runtime": runtime})
    adapter = open_adapter(bundle, bundle.manifest.variant(variant), chosen, None)
    keep.callback(adapter.close)
    sample = one_sample(bundle)
    return (lambda level: adapter.run(sample, level)), adapter.level_count


def _child(request: Request) -> list[Timed]:
    bundle, profile = open_for(request.bundle, None, check_hashes=False)
    runtime = profile.runtime.model_copy(update={"threads": request.threads})
    profile = profile.model_copy(update={"runtime": runtime})
    with ExitStack() as keep:
        runs: list[Callable[[], Any]] = []
        base, levels = open_run(bundle, profile, request.base, None, keep)
        runs.append(lambda: base(levels - 1))
        if request.ncnn is not None:
            (sample,) = one_sample(bundle).values()
            runs.append(open_ncnn(Path(request.ncnn), sample, request.threads))
        elif request.variant == request.base:
            runs += [_at(base, level) for level in range(levels - 1)]
        else:
            run, count = open_run(bundle, profile, request.variant, request.choice, keep)
            runs += [_at(run, level) for level in range(count)]
        times = _in_turns(runs, request.seconds)
    base_ms = float(np.median(times[0]))
    times = [*times[1:], times[0]] if request.variant == request.base else times[1:]
    return [_timed(level, found, base_ms) for level, found in enumerate(times)]


def _at(run: Callable[[int], Any], level: int) -> Callable[[], Any]:
    return lambda: run(level)


def _in_turns(runs: list[Callable[[], Any]], seconds: float) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        for _ in range(_WARM_UP_RUNS):
            run()
    for turn in rounds(seconds, fewest=_FEWEST_TURNS, most=_MOST_TURNS):
        for number in order(len(runs), turn):
            runs[number]()  # the first after another engine finds its caches cold, and is not counted
            for _ in range(_RUNS_A_TURN):
                began = time.perf_counter()
                runs[number]()
                times[number].append((time.perf_counter() - began) * 1e3)
    return times


def _timed(level: int, times_ms: list[float], base_ms: float) -> Timed:
    p50_ms = float(np.median(times_ms))
    return Timed(level, p50_ms, float(np.percentile(times_ms, 95)), len(times_ms), base_ms / p50_ms)


def main(words: Mapping[str, Any]) -> None:
    """Answer one request, or say in one line why not."""
    try:
        rows = [asdict(timed) for timed in _child(Request(**words))]
    except ElsaError as error:
        raise SystemExit(str(error)) from error
    sys.stdout.write(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
