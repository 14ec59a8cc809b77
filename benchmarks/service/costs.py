"""What adapting costs: reading the probes, as a share of a core, and a decision, both in processor time."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from benchmarks.common import Claim, Row, at_most
from benchmarks.qos.decision import decision_row
from elsa_edge.control.probes import Probes
from elsa_edge.profiles.schema import Probes as ProbeSettings

__all__ = ["measure_costs"]

_READINGS: Final = 400
_LEVELS: Final = 3


def measure_costs() -> tuple[list[Row], list[Claim]]:
    """Read this machine's probes and time decisions on a trace."""
    settings = ProbeSettings()
    probes = Probes.from_settings(settings)
    times = []
    for _ in range(_READINGS):
        began = time.thread_time_ns()
        probes.read()
        times.append((time.thread_time_ns() - began) / 1e6)
    share = float(np.mean(times)) / settings.interval_ms
    decision = decision_row(_LEVELS, 3000)
    rows: list[Row] = [
        {
            "part": "costs",
            "reading_ms": round(float(np.mean(times)), 4),
            "interval_ms": settings.interval_ms,
            "probes_share_of_a_core": round(share, 5),
        },
        {"part": "costs", **decision},
    ]
    return rows, [
        at_most("costs: probes, share of a core", 0.01, round(share, 5)),
        at_most("costs: a decision, microseconds (median)", 20.0, decision["decision_us_p50"]),
    ]
