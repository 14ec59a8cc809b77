"""Two services in one memory limit that has room for one dense level, with a ledger and without.

Both serve at their densest level until the limit falls to half a step below what that needs. One of the two has to go
down; if both do, both see room to come back, and so on.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Final

from benchmarks.common import Claim, Row, at_least, at_most
from benchmarks.service.disturb import Group, group
from benchmarks.service.frame import Frame, Run, go
from elsa_edge.errors import ElsaError

__all__ = ["measure_shared"]

_RESERVE_MB: Final = 8.0
_HYSTERESIS_MB: Final = 1.0
_SETTLING_S: Final = 3.0  # after the limit falls, before switches count as swinging
_SESSIONS: Final = 2


def _serve_two(here: Frame, held: Group, ledger: Path | None) -> list[list[Run]]:
    """Return the runs of two workers in one group, whose limit falls after a third of the time."""
    sizes = [level["memory_bytes"] for level in here.table["levels"]]
    wish = here.wish(
        budget_ms=None,
        period_ms=4 * here.medians_ms[-1],
        reserve_mb=_RESERVE_MB,
        hysteresis_mb=_HYSTERESIS_MB,
        **({} if ledger is None else {"ledger": str(ledger)}),
    )
    workers = [here.worker.start(wish, held) for _ in range(_SESSIONS)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        go(worker)
    time.sleep(here.worker.seconds / 3)
    held.set_memory(int(held.used_bytes() + _RESERVE_MB * 1e6 - (sizes[-1] - sizes[0]) / 2))
    texts = [worker.communicate(timeout=here.worker.seconds + 300)[0] for worker in workers]
    ended = [worker.returncode for worker in workers]
    if any(ended):
        raise ElsaError(f"Workers of the benchmark ended with {ended}")
    return [[Run(*run) for run in json.loads(text)] for text in texts]


def measure_shared(here: Frame, folder: Path) -> tuple[list[Row], list[Claim]]:
    """Serve twice with a ledger and without."""
    words = (
        "shared: sessions killed or failed with a ledger",
        "shared: switches of the two sessions with a ledger, once settled",
        "shared: denser of the two levels at the end, with a ledger",
    )
    rows: list[Row] = []
    for ledger in (folder / "ledger.txt", None):
        with group("memory") as held:
            if held is None:
                return [{"part": "shared", "not_measured": "no control group of memory can be made here"}], [
                    at_most(words[0], 0, None)
                ]
            try:
                both = _serve_two(here, held, ledger)
            except ElsaError as error:
                rows.append({"part": "shared", "ledger": ledger is not None, "error": str(error)})
                continue
        limited = [
            [run.level for run in runs if run.end_s > here.worker.seconds / 3 + _SETTLING_S] for runs in both
        ]
        rows.append(
            {
                "part": "shared",
                "ledger": ledger is not None,
                "seconds": here.worker.seconds,
                "runs": [len(runs) for runs in both],
                "switches_settled": [sum(a != b for a, b in itertools.pairwise(part)) for part in limited],
                "levels_at_the_end": [runs[-1].level for runs in both],
            }
        )
    first = rows[0]
    failed = "error" in first
    return rows, [
        at_most(words[0], 0, int(failed)),
        at_most(words[1], 2, None if failed else sum(first["switches_settled"])),
        at_least(words[2], len(here.medians_ms) - 1, None if failed else max(first["levels_at_the_end"])),
    ]
