"""Golden traces: observations and the decisions on them, for twins of the controller in other languages.

`PYTHONPATH=. python tests/control/golden.py` writes `golden_traces.json` anew, after a wanted change of behaviour: some
situations by name, what is refused, and of many random traces those that reach a branch which none before them did.
`python -m benchmarks.clients.coverage` says which branches they reach.
"""

from __future__ import annotations

import json
import random

from benchmarks.clients.coverage import Branches
from benchmarks.clients.traces import GOLDEN, MB, Trace, record, trace_of
from elsa_edge.control import LevelFacts, Policy
from elsa_edge.control.trace import scenario

POLICY = Policy(budget_ms=30.0, dwell_ms=200.0)
TRUTH_MS = (10.0, 15.0, 24.0)
RANDOM_TRACES = 1500
# After so many warm runs a level that was not observed may be probed again.
STALE_RUNS = 1000


def levels(*, measured: bool) -> list[LevelFacts]:
    """Return three levels that take TRUTH_MS, measured or not."""
    return [
        LevelFacts(
            name=f"level-{k}",
            work=(k + 1) / 3,
            p50_ms=truth if measured else None,
            p95_ms=1.1 * truth if measured else None,
            switch_ms=2.0,
            memory_bytes=(20, 30, 60)[k] * MB,
        )
        for k, truth in enumerate(TRUTH_MS)
    ]


def situation(*, measured: bool, name: str, runs: int = 60) -> Trace:
    """Return what the middle level sees of a scenario, whatever is decided."""
    seen, now = [], 0.0
    for place, sample in enumerate(scenario(name, runs, seed=3)):
        level = min(2, place // 12 % 4)
        latency = round(TRUTH_MS[level] * sample.slowdown, 3)
        now = round(now + max(33.0, latency), 3)
        free = None if sample.available_bytes is None else sample.available_bytes - 20 * MB
        seen.append([now, level, latency, free, sample.pressure_percent, sample.temperature_c])
    return trace_of(POLICY, levels(measured=measured), seen)


def refusals() -> list[Trace]:
    """Return observations that cannot be, among some that can, and plans that cannot be made."""
    accurate = [LevelFacts(name="rough", accuracy=0.5), LevelFacts(name="fine", accuracy=0.6)]
    fine, missing = [20.0, 0, 10.0, None, None, None], [40.0, 0, None, None, None, None]
    wrong = ([None, 0, 10.0], [30.0, None, 10.0], [30.0, 0, -1.0], [30.0, 3, 10.0], [30.0, -1, 10.0])
    seen = [fine, *([*row, None, None, None] for row in wrong), missing, [50.0, *fine[1:]]]
    return [
        trace_of(POLICY, levels(measured=True), seen),
        trace_of(POLICY, [], []),
        trace_of(Policy(minimum_accuracy=0.9), accurate, []),
        trace_of(Policy(minimum_accuracy=0.9), levels(measured=True), []),
    ]


def stale() -> Trace:
    """Return a level above that was believed too slow for so long that it is tried."""
    seen = []
    for run in range(STALE_RUNS + 20):
        latency = round(15.0 + 0.03 * (run * 37 % 11 - 5), 3)
        seen.append([20.0 * run, 1, latency, None, None, None])
    return trace_of(Policy(budget_ms=24.5, dwell_ms=0.0), levels(measured=True), seen)


def main() -> None:
    """Write the file."""
    kept = [
        situation(measured=m, name=n) for m in (True, False) for n in ("step", "memory-squeeze", "heavy-tail")
    ]
    kept += [*refusals(), stale()]
    generator, branches = random.Random(7), Branches()
    for trace in kept:
        branches.add(trace)
    for _ in range(RANDOM_TRACES):
        trace = record(generator, generator.randint(10, 40))
        if trace is not None and branches.add(trace):
            kept.append(trace)
    GOLDEN.write_text(
        "[\n"
        + ",\n".join(json.dumps(trace, separators=(",", ":"), allow_nan=False) for trace in kept)
        + "\n]\n"
    )


if __name__ == "__main__":
    main()
