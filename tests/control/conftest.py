"""Ladders and drives for the controller's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from elsa_edge.control import Controller, Decision, LevelFacts, Observation


def _ladder(*medians_ms: float | None, memory_mb: Sequence[int] = (), **common: object) -> list[LevelFacts]:
    count = len(medians_ms)
    return [
        LevelFacts(
            name=f"level-{k}",
            work=(k + 1) / count,
            p50_ms=median,
            p95_ms=None if median is None else 1.1 * median,
            memory_bytes=memory_mb[k] * 1_000_000 if memory_mb else None,
            **common,
        )
        for k, median in enumerate(medians_ms)
    ]


@pytest.fixture
def ladder() -> Callable[..., list[LevelFacts]]:
    """Return a function from medians in ms (None for unknown), sparsest first, to levels."""
    return _ladder


def _drive(
    controller: Controller,
    latency_ms: Callable[[int, int], float],
    runs: int,
    *,
    available_bytes: Callable[[int, int], float | None] = lambda _run, _level: None,
    period_ms: float = 33.0,
    **others: float,
) -> list[Decision]:
    now, decisions = 0.0, []
    for run in range(runs):
        level = controller.level
        now += max(period_ms, latency_ms(run, level))
        decisions.append(
            controller.observe(
                Observation(
                    now_ms=now,
                    level=level,
                    latency_ms=latency_ms(run, level),
                    available_bytes=available_bytes(run, level),
                    **others,
                )
            )
        )
    return decisions


@pytest.fixture
def drive() -> Callable[..., list[Decision]]:
    """Return a function that runs a controller on `latency_ms(run, level)` and returns its decisions."""
    return _drive
