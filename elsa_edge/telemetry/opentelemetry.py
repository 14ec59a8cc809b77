"""A session as observable OpenTelemetry instruments: read when the application's exporter asks.

Source: https://opentelemetry.io/docs/specs/otel/metrics/api/#asynchronous-counter
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from elsa_edge.control.history import LevelStats, SessionStats
from elsa_edge.session import AdaptiveSession

__all__ = ["observe_session"]

_S_PER_MS: Final = 1e-3

_Callback = Callable[[CallbackOptions], Iterable[Observation]]


def observe_session(meter: Meter, session: AdaptiveSession) -> None:
    """Register a session's figures with a meter of the application's provider.

    Args:
        meter: From `opentelemetry.metrics.get_meter("your.application")`.
        session: The session to read; it may run in another thread.
    """

    def per_level(value: Callable[[LevelStats], float | None]) -> _Callback:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            for level in session.stats.levels:
                figure = value(level)
                if figure is not None:
                    yield Observation(figure, {"level": level.level, "name": level.name})

        return read

    def whole(value: Callable[[SessionStats], float | None]) -> _Callback:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            figure = value(session.stats)
            if figure is not None:
                yield Observation(figure)

        return read

    meter.create_observable_counter("elsa_edge.runs", [per_level(lambda level: level.runs)], "{run}")
    meter.create_observable_counter("elsa_edge.late_runs", [per_level(lambda level: level.late)], "{run}")
    meter.create_observable_counter("elsa_edge.switches", [whole(lambda stats: stats.switches)], "{switch}")
    meter.create_observable_counter(
        "elsa_edge.busy_time", [per_level(lambda level: level.busy_ms * _S_PER_MS)], "s"
    )
    meter.create_observable_gauge(
        "elsa_edge.latency.p95",
        [per_level(lambda level: None if level.p95_ms is None else level.p95_ms * _S_PER_MS)],
        "s",
    )
    meter.create_observable_gauge(
        "elsa_edge.next_level",
        [whole(lambda stats: None if stats.last is None else stats.last.decision.level)],
    )
    meter.create_observable_gauge(
        "elsa_edge.feasible",
        [whole(lambda stats: None if stats.last is None else float(stats.last.decision.feasible))],
    )
