"""A session as observable OpenTelemetry instruments: read when the application's exporter asks.

Source: https://opentelemetry.io/docs/specs/otel/metrics/api/#asynchronous-counter
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from elsa_edge.control.history import LevelStats, RunEvent, SessionStats
from elsa_edge.session import AdaptiveSession

__all__ = ["observe_session"]

_S_PER_MS: Final = 1e-3

# From the session's figures to pairs of attributes and a figure, which is None where it is unknown.
_Figures = Callable[[SessionStats], Iterable[tuple[Mapping[str, str | int], float | None]]]


def observe_session(meter: Meter, session: AdaptiveSession) -> None:
    """Register a session's figures with a meter of the application's provider.

    Args:
        meter: From `opentelemetry.metrics.get_meter("your.application")`.
        session: The session to read; it may run in another thread.
    """
    for name, figures, unit in _COUNTERS:
        meter.create_observable_counter(f"elsa_edge.{name}", [_reader(session, figures)], unit)
    for name, figures, unit in _GAUGES:
        meter.create_observable_gauge(f"elsa_edge.{name}", [_reader(session, figures)], unit)


def _reader(
    session: AdaptiveSession, figures: _Figures
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(_: CallbackOptions) -> Iterable[Observation]:
        for attributes, figure in figures(session.stats):
            if figure is not None:
                yield Observation(figure, attributes)

    return read


def _by_level(value: Callable[[LevelStats], float | None]) -> _Figures:
    return lambda stats: [
        ({"level": level.level, "name": level.name}, value(level)) for level in stats.levels
    ]


def _by(key: str, counts: Callable[[SessionStats], Mapping[str, int]]) -> _Figures:
    return lambda stats: [({key: name}, count) for name, count in counts(stats).items()]


def _whole(value: Callable[[SessionStats], float]) -> _Figures:
    return lambda stats: [({}, value(stats))]


def _latest(value: Callable[[RunEvent], float | None]) -> _Figures:
    return lambda stats: [] if stats.last is None else [({}, value(stats.last))]


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms * _S_PER_MS


# Name, figures, unit.
_COUNTERS: Final[tuple[tuple[str, _Figures, str], ...]] = (
    ("runs", _by_level(lambda level: level.runs), "{run}"),
    ("late_runs", _by_level(lambda level: level.late), "{run}"),
    ("busy_time", _by_level(lambda level: level.busy_ms * _S_PER_MS), "s"),
    ("energy", _by_level(lambda level: level.energy_j), "J"),
    ("switches", _whole(lambda stats: stats.switches), "{switch}"),
    ("rerouted_runs", _whole(lambda stats: stats.rerouted), "{run}"),
    ("decisions", _by("reason", lambda stats: stats.reasons), "{decision}"),
    ("choices", _by("by", lambda stats: stats.chosen_by), "{run}"),
)
_GAUGES: Final[tuple[tuple[str, _Figures, str], ...]] = (
    ("latency.p50", _by_level(lambda level: _seconds(level.p50_ms)), "s"),
    ("latency.p95", _by_level(lambda level: _seconds(level.p95_ms)), "s"),
    ("latency.p99", _by_level(lambda level: _seconds(level.p99_ms)), "s"),
    ("next_level", _latest(lambda run: run.decision.level), "1"),
    ("feasible", _latest(lambda run: float(run.decision.feasible)), "1"),
    ("slowdown", _latest(lambda run: run.decision.slowdown), "1"),
    ("miss_ratio", _latest(lambda run: run.decision.miss_rate), "1"),
    ("available_memory", _latest(lambda run: run.available_bytes), "By"),
    ("temperature", _latest(lambda run: run.temperature_c), "Cel"),
    ("clock_ratio", _latest(lambda run: run.clock_share), "1"),
    ("power", _latest(lambda run: run.power_w), "W"),
)
