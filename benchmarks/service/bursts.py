"""Bursts of stress-ng on the service's core: adaptive, always dense, always sparsest, and who knew it beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.common import Claim, Row, at_least, at_most
from benchmarks.service.disturb import bursts
from benchmarks.service.frame import ALLOWED, Frame, serve
from elsa_edge.bundle import open_bundle
from elsa_edge.control import Policy, level_facts
from elsa_edge.control.replay import clairvoyant
from elsa_edge.control.trace import read_trace
from elsa_edge.profiles.schema import Measured

__all__ = ["measure_bursts"]

_POLICIES: Final = ("adaptive", "dense", "sparsest")
_ON_S: Final = 2.0
_OFF_S: Final = 3.0
_HOGS: Final = 3
# The densest level fits a quiet core, and not one that is shared with another process.
_BUDGET: Final = 1.6


def measure_bursts(here: Frame, trace: Path) -> tuple[list[Row], list[Claim]]:
    """Serve under each policy; `trace` is written by the adaptive one."""
    budget_ms = _BUDGET * here.medians_ms[-1]
    wish = here.wish(budget_ms=budget_ms, period_ms=budget_ms)
    rows: list[Row] = []
    trace.unlink(missing_ok=True)
    with bursts(here.worker.core, _ON_S, _OFF_S, _HOGS, here.worker.nice):
        for policy in _POLICIES:
            recording = {"record": str(trace)} if policy == "adaptive" else {}
            runs = serve(here, wish | {"policy": policy} | recording)
            rows.append(
                {
                    "part": "bursts",
                    "policy": policy,
                    "seconds": here.worker.seconds,
                    **here.row(runs, budget_ms),
                }
            )
    ours, dense, sparsest = rows
    oracle, oracle_late = _oracle(trace, here, budget_ms)
    rows.append(
        {
            "part": "bursts",
            "policy": "oracle on the recorded trace",
            "mean_accuracy": round(oracle, 4),
            "late_share": round(oracle_late, 4),
        }
    )
    # The sparsest level's late runs are those that no level could have saved.
    late = round(max(0.0, ours["late_share"] - sparsest["late_share"]), 4)
    fewer = round(dense["late_share"] / max(ours["late_share"], 1e-4), 2)
    return rows, [
        at_most("bursts: late share, without those that even the sparsest level has", ALLOWED + 0.01, late),
        at_most(
            "bursts: mean accuracy below the oracle's on the recorded trace, points",
            1.0,
            round(100 * (oracle - ours["mean_accuracy"]), 2),
        ),
        at_least("bursts: times fewer late runs than always dense", 3.0, fewer),
        at_least(
            "bursts: mean accuracy above always sparsest, points",
            0.0,
            round(100 * (ours["mean_accuracy"] - sparsest["mean_accuracy"]), 2),
        ),
    ]


def _oracle(trace: Path, here: Frame, budget_ms: float) -> tuple[float, float]:
    """Return mean accuracy and late share of who knew the recorded trace beforehand."""
    policy = Policy(budget_ms=budget_ms, allowed_miss_rate=ALLOWED)
    samples = read_trace(trace, here.medians_ms)
    table = Measured.model_validate_json(json.dumps(here.table))
    facts = level_facts(open_bundle(here.bundle).manifest.ladder, table)
    levels = clairvoyant(samples, facts, here.medians_ms, policy)
    late = [
        here.medians_ms[k] * sample.slowdown > budget_ms for k, sample in zip(levels, samples, strict=True)
    ]
    return float(np.mean([facts[k].accuracy or 0.0 for k in levels])), float(np.mean(late))
