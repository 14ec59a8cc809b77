"""What every part of the service benchmark shares: a worker process, its table of levels, and figures of its runs."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.common import Row
from benchmarks.service.disturb import Group
from elsa_edge.bundle import open_bundle
from elsa_edge.errors import ElsaError

__all__ = ["ALLOWED", "Frame", "Run", "Worker", "frame", "go", "runs_until_inside", "serve", "summary"]

ALLOWED: Final = 0.05


class Run(NamedTuple):
    """One inference of a worker: its end in seconds since the beginning, and what it was."""

    end_s: float
    level: int
    latency_ms: float
    rerouted_to: int | None = None
    border: int | None = None


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Where workers run.

    Attributes:
        core: The core that workers and disturbances share.
        nice: Their priority: below zero, programs of others on this machine hardly disturb.
        seconds: How long each serves.
    """

    core: int
    nice: int
    seconds: float

    def start(self, wish: dict[str, Any], group: Group | None = None) -> subprocess.Popen[str]:
        """Start a worker, inside a control group from its first page on."""
        order = json.dumps(wish | {"core": self.core, "nice": self.nice, "seconds": self.seconds})
        command = [sys.executable, "-m", "benchmarks.service.worker", order]
        if group is not None:
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group.members), *command]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One bundle, the worker that serves it, and what its levels take.

    Attributes:
        bundle: Its folder.
        worker: Where it is served.
        table: The profile's measured table as JSON data, by processor time: what a core of one's own would take.
        medians_ms: Of the levels, sparsest first.
        accuracy: Of the levels.
    """

    bundle: Path
    worker: Worker
    table: dict[str, Any]
    medians_ms: tuple[float, ...]
    accuracy: tuple[float, ...]

    def wish(self, **more: Any) -> dict[str, Any]:
        """Return what a worker is told."""
        return {"bundle": str(self.bundle), "measured": self.table, "policy": "adaptive", **more}

    def row(self, runs: Sequence[Run], budget_ms: float) -> Row:
        """Return the figures of some runs."""
        return {
            "budget_ms": round(budget_ms, 3),
            "levels_ms": [round(ms, 3) for ms in self.medians_ms],
            **summary(runs, budget_ms, self.accuracy),
        }


def frame(bundle: Path, worker: Worker) -> Frame:
    """Time the levels of a bundle."""
    table = json.loads(worker.start({"bundle": str(bundle)}).communicate(timeout=300)[0])
    return Frame(
        bundle=bundle,
        worker=worker,
        table=table,
        medians_ms=tuple(level["p50_ms"] for level in table["levels"]),
        accuracy=tuple(level.accuracy or 0.0 for level in open_bundle(bundle).ladder),
    )


def serve(
    here: Frame,
    wish: dict[str, Any],
    during: Callable[[subprocess.Popen[str]], None] | None = None,
    *,
    group: Group | None = None,
) -> list[Run]:
    """Run a worker and return its runs; `during` is called when it is ready, and must let it go.

    Raises:
        ElsaError: When the worker was killed or failed.
    """
    process = here.worker.start(wish, group)
    assert process.stdout is not None
    process.stdout.readline()
    (during or go)(process)
    text, _ = process.communicate(timeout=here.worker.seconds + 300)
    if process.returncode:
        raise ElsaError(f"A worker of the benchmark ended with {process.returncode}")
    return [Run(*run) for run in json.loads(text)]


def go(process: subprocess.Popen[str]) -> None:
    """Let a worker begin; one that is gone already tells by its exit status."""
    assert process.stdin is not None
    try:
        process.stdin.write("go\n")
        process.stdin.flush()
    except OSError:
        return


def summary(runs: Sequence[Run], budget_ms: float, accuracy: Sequence[float]) -> Row:
    """Return shares, percentiles and counts of some runs; a late answer is worth nothing."""
    latencies = np.array([run.latency_ms for run in runs])
    late = latencies > budget_ms
    value = [0.0 if gone else accuracy[run.level] for run, gone in zip(runs, late, strict=True)]
    return {
        "runs": len(runs),
        "late_share": round(float(late.mean()), 4),
        "p50_ms": round(float(np.median(latencies)), 3),
        "p99_ms": round(float(np.quantile(latencies, 0.99)), 3),
        "mean_accuracy": round(float(np.mean([accuracy[run.level] for run in runs])), 4),
        "mean_value": round(float(np.mean(value)), 4),
        "switches": sum(a.level != b.level for a, b in itertools.pairwise(runs)),
        "rerouted": sum(run.rerouted_to is not None for run in runs),
    }


def runs_until_inside(late: Sequence[bool], window: int = 20) -> int:
    """Return after how many runs the next twenty hold the policy: at most one of them late."""
    for start in range(len(late) - min(window, len(late)) + 1):
        if sum(late[start : start + window]) <= ALLOWED * window:
            return start
    return len(late)


def last_core() -> int:
    """Return the core that the benchmark takes."""
    return max(os.sched_getaffinity(0))
