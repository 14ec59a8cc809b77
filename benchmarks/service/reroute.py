"""Bursts that begin while an inference runs: the network in segments against the same network whole."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.common import Claim, Row, at_least
from benchmarks.service.disturb import bursts
from benchmarks.service.frame import Frame, serve
from elsa_edge.bundle import open_bundle

__all__ = ["measure_rerouting"]

_TURNS: Final = 2
# Short, with long pauses: the controller is back at the densest level when the next one begins.
_ON_S: Final = 0.3
_OFF_S: Final = 1.7
_HOGS: Final = 4
_BUDGET: Final = 1.6


def measure_rerouting(whole: Frame, cut: Frame) -> tuple[list[Row], list[Claim]]:
    """Serve both in turns under the same bursts and budget."""
    budget_ms = _BUDGET * whole.medians_ms[-1]
    names = {"whole": whole, "in 3 segments": cut}
    hit: dict[str, list[float]] = {name: [] for name in names}
    rows: list[Row] = []
    with bursts(whole.worker.core, _ON_S, _OFF_S, _HOGS, whole.worker.nice):
        for turn in range(_TURNS):
            for name, here in list(names.items())[:: 1 if turn == 0 else -1]:
                runs = serve(here, here.wish(budget_ms=budget_ms, period_ms=budget_ms))
                # Hit: begun at the densest level, and disturbed beyond what a quiet core shows.
                found = [
                    run.latency_ms
                    for run in runs
                    if run.level == len(here.medians_ms) - 1
                    and (run.latency_ms > budget_ms or run.rerouted_to is not None)
                ]
                hit[name] += found
                rows.append(
                    {
                        "part": "rerouting",
                        "network": name,
                        "turn": turn,
                        "seconds": here.worker.seconds,
                        "hit": len(found),
                        "hit_mean_ms": round(float(np.mean(found)), 3) if found else None,
                        **here.row(runs, budget_ms),
                    }
                )
    p99 = {name: float(np.quantile(times, 0.99)) if times else None for name, times in hit.items()}
    before, after = p99["whole"], p99["in 3 segments"]
    instructions = open_bundle(cut.bundle).manifest.variants[0].instructions.model_dump()
    points = {
        " ".join(map(str, point["levels"])): point["accuracy"] for point in instructions["switch_points"]
    }
    rows.append(
        {
            "part": "rerouting",
            "network": "both",
            "hit": {name: len(times) for name, times in hit.items()},
            "hit_p99_ms": p99,
            "accuracy": cut.accuracy,
            "accuracy_at_switch_points": points,
            "whole_ms": [round(ms, 3) for ms in whole.medians_ms],
            "in_segments_ms": [round(ms, 3) for ms in cut.medians_ms],
        }
    )
    return rows, [
        at_least(
            "rerouting: p99 of inferences hit by a burst lower by",
            0.25,
            None if before is None or after is None else round(1.0 - after / before, 3),
        ),
        at_least(
            "rerouting: accuracy of the worst switch point over the sparsest level's less 1 point",
            0.0,
            round(min(points.values()) - (cut.accuracy[0] - 0.01), 4),
        ),
    ]
