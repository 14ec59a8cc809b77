"""A process that serves: one inference a period for some seconds, at the policy's level; what happened goes to stdout.

    python -m benchmarks.service.worker '{"bundle": ..., "policy": "adaptive", "seconds": 10, ...}'

It reads `go` from stdin when its parent has put it where it belongs, and answers `ready` first.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from elsa_edge import AdaptiveSession
from elsa_edge.control.record import TraceRecorder
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import Measured, MeasuredLevel

_MEASURE_S = 3.0
_FRAMES = 64  # images of one inference


def _measured(session: AdaptiveSession, feed: dict[str, Any]) -> Measured:
    """Time the levels in turns by processor time: what they would take on a core of their own."""
    times: list[list[float]] = [[] for _ in session.ladder]
    ends = time.monotonic() + _MEASURE_S
    while time.monotonic() < ends:
        for level, found in enumerate(times):
            for again in range(3):  # the first one brings the level's weights back into the caches
                began = time.process_time()
                session.run(feed, level=level)
                if again:
                    found.append((time.process_time() - began) * 1e3)
    memory = session.memory()
    return Measured(
        levels=tuple(
            MeasuredLevel(
                name=level.name,
                p50_ms=float(np.median(found)),
                p95_ms=float(np.quantile(found, 0.95)),
                memory_bytes=memory.at(k),
            )
            for k, (level, found) in enumerate(zip(session.ladder, times, strict=True))
        )
    )


def main(wish: dict[str, Any]) -> None:
    """Serve and tell."""
    os.sched_setaffinity(0, {wish["core"]})
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, wish["nice"])
    profile = load_profile("generic-x86-64")
    qos = profile.qos.model_copy(
        update={
            "latency_budget_ms": wish.get("budget_ms"),
            "memory_reserve_mb": wish.get("reserve_mb", 0.0),
            "memory_hysteresis_mb": wish.get("hysteresis_mb", 16.0),
            "temperature_limit_c": wish.get("temperature_limit_c"),
        }
    )
    if "root" in wish:
        profile = profile.model_copy(
            update={"probes": profile.probes.model_copy(update={"root": wish["root"]})}
        )
    measured = Measured.model_validate_json(json.dumps(wish["measured"])) if "measured" in wish else None
    profile = profile.model_copy(update={"qos": qos, "measured": measured})
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(
            AdaptiveSession.open(wish["bundle"], profile, cache=False, ledger=wish.get("ledger"))
        )
        (name,) = session.inputs
        feed = {name: np.random.default_rng(0).random((_FRAMES, 1, 28, 28), dtype=np.float32)}
        if measured is None:
            print(_measured(session, feed).model_dump_json())
            return
        level = {"adaptive": None, "dense": len(session.ladder) - 1, "sparsest": 0}[wish["policy"]]
        if "record" in wish:
            memory = [session.memory().at(k) for k in range(len(session.ladder))]
            recorder = stack.enter_context(
                TraceRecorder(Path(wish["record"]), memory, bundle=session.bundle.identity)
            )
        else:
            recorder = None
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        runs = []
        due = began
        while (now := time.monotonic()) < began + wish["seconds"]:
            if now < due:
                time.sleep(due - now)
            due = max(due + wish["period_ms"] / 1e3, time.monotonic())
            session.run(feed, level=level)
            run = session.last_run
            assert run is not None
            if recorder is not None:
                recorder(run)
            runs.append(
                (
                    round(time.monotonic() - began, 4),
                    run.level,
                    round(run.latency_ms, 3),
                    None if run.rerouted is None else run.rerouted.level,
                    None if run.rerouted is None else run.rerouted.border,
                )
            )
        print(json.dumps(runs), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
