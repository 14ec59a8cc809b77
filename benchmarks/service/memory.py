"""The memory limit of a control group lowered while the network runs, and raised again.

The network has a file per level, of which one is loaded, and a sparse level lacks whole channels: so a lower level
gives memory back. Everything of the process is counted, since it is in the group before it starts.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

from benchmarks.common import Claim, Row, at_least, at_most
from benchmarks.service.disturb import group
from benchmarks.service.frame import Frame, go, serve
from elsa_edge.errors import ElsaError

__all__ = ["measure_memory"]

_RESERVE_MB: Final = 8.0
# What the limit leaves: less than the reserve, so that a level must go; more than an inference allocates on its way.
_LEFT_BYTES: Final = 4_000_000


def measure_memory(here: Frame, trace: Path) -> tuple[list[Row], list[Claim]]:
    """Serve; in the second third of the time the limit is just above what is used."""
    words = "memory: processes killed and inferences failed"
    seconds, top = here.worker.seconds, len(here.medians_ms) - 1
    wish = here.wish(
        budget_ms=None,
        period_ms=4 * here.medians_ms[-1],
        reserve_mb=_RESERVE_MB,
        hysteresis_mb=2.0,
        record=str(trace),
    )
    trace.unlink(missing_ok=True)
    noted: dict[str, int] = {}
    with group("memory") as held:
        if held is None:
            return [{"part": "memory", "not_measured": "no control group of memory can be made here"}], [
                at_most(words, 0, None)
            ]

        def steer(process: subprocess.Popen[str]) -> None:
            go(process)
            time.sleep(seconds / 3)
            noted["limit"] = held.used_bytes() + _LEFT_BYTES
            held.set_memory(noted["limit"])
            time.sleep(seconds / 3)
            held.set_memory(None)

        try:
            runs = serve(here, wish, steer, group=held)
        except ElsaError as error:
            return [{"part": "memory", "error": str(error)}], [at_most(words, 0, 1)]
    thirds = [
        [run.level for run in runs if k * seconds / 3 <= run.end_s < (k + 1) * seconds / 3] for k in range(3)
    ]
    row: Row = {
        "part": "memory",
        "seconds": seconds,
        "runs": len(runs),
        "limit_mb": round(noted["limit"] / 1e6, 1),
        "killed_or_failed": 0,
        "levels_seen": [sorted(set(third)) for third in thirds],
        "last_level": runs[-1].level,
    }
    return [row], [
        at_most(words, 0, 0),
        at_most("memory: level under the limit", top - 1, min(thirds[1], default=None)),
        at_least("memory: level at the end, the limit being gone", top, runs[-1].level),
    ]
