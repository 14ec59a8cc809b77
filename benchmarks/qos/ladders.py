"""Made-up ladders: what levels take, need and are worth, for simulations."""

from __future__ import annotations

from typing import Final

from elsa_edge.control import LevelFacts

__all__ = ["BUDGET_MS", "DENSE_BYTES", "PERIOD_MS", "ladder"]

PERIOD_MS: Final = 33.0
BUDGET_MS: Final = 30.0
_MB: Final = 1_000_000
DENSE_BYTES: Final = 38 * _MB  # that the densest level needs beyond the sparsest


def ladder(count: int, *, measured: bool = True) -> tuple[list[LevelFacts], list[float]]:
    """Return a ladder whose densest level just fits a quiet device, and its measured medians."""
    works = [0.05 + 0.95 * (k / max(1, count - 1)) ** 1.5 for k in range(count)]
    medians = [24.0 * (0.35 + 0.65 * work) for work in works]
    facts = [
        LevelFacts(
            name=f"level-{k}",
            work=work,
            p50_ms=median if measured else None,
            p95_ms=median * 1.1 if measured else None,
            switch_ms=2.0,
            memory_bytes=int((20 + 40 * work) * _MB),
            accuracy=0.60 + 0.15 * (k / max(1, count - 1)) ** 0.5,
        )
        for k, (work, median) in enumerate(zip(works, medians, strict=True))
    ]
    return facts, medians
