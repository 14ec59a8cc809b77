"""Sessions as a Prometheus collector: their figures are read when a scrape comes, at no cost for the runs between.

Source: https://prometheus.github.io/client_python/collector/custom/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from elsa_edge.control.history import LevelStats, SessionStats
from elsa_edge.errors import InputError
from elsa_edge.session import AdaptiveSession

__all__ = ["SessionCollector"]

_S_PER_MS: Final = 1e-3


class SessionCollector(Collector):
    """Register one with a registry: `CollectorRegistry().register(SessionCollector(session))`.

    A registry takes one collector: with a second, the page would tell of each figure twice, which Prometheus refuses.
    Several sessions go by name: `SessionCollector({"door": first, "yard": second})` adds a label `session`.

    Args:
        sessions: The session to read, or several by name; they may run in other threads.

    Raises:
        InputError: When it is neither: said here, and not at the first scrape.
    """

    def __init__(self, sessions: AdaptiveSession | Mapping[str, AdaptiveSession]) -> None:
        given: object = sessions  # callers without a type checker give lists
        named: Mapping[object, object] = given if isinstance(given, Mapping) else {"": given}
        for name, session in named.items():
            if not isinstance(name, str) or not isinstance(session, AdaptiveSession):
                raise InputError(
                    "A collector reads sessions",
                    expected="an AdaptiveSession, or a dictionary of them by name",
                    found=f"{type(session).__name__} under {name!r}"
                    if isinstance(given, Mapping)
                    else type(given).__name__,
                )
        self._sessions = sessions

    def describe(self) -> Iterator[Metric]:
        """Return one figure that every session has: a registry refuses another collector of the same."""
        yield _info()

    def collect(self) -> Iterator[Metric]:
        """Return the figures as they are now."""
        if not isinstance(self._sessions, Mapping):
            yield from _of(self._sessions)
            return
        found: dict[str, Metric] = {}
        for name, session in self._sessions.items():
            for metric in _of(session):
                named = [
                    sample._replace(labels={"session": name, **sample.labels}) for sample in metric.samples
                ]
                metric.samples = [*found[metric.name].samples, *named] if metric.name in found else named
                found[metric.name] = metric
        yield from found.values()


def _info() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "elsa_edge_session_info",
        "What runs; always 1.",
        labels=("bundle", "variant", "device", "choice", "threads", "instruction_set"),
    )


def _of(session: AdaptiveSession) -> Iterator[Metric]:
    stats, runs, info = session.stats, session.what_runs, _info()
    kernels = (runs.choice, str(runs.threads), runs.instruction_set or "")
    info.add_metric((session.bundle.identity, runs.variant, session.profile.name, *kernels), 1.0)
    yield info
    yield from _per_level(stats)
    yield from _decisions(stats)
    yield from _device(stats)


def _per_level(stats: SessionStats) -> Iterator[Metric]:
    labels = ("level", "name")
    runs = CounterMetricFamily("elsa_edge_runs", "Inferences.", labels=labels)
    late = CounterMetricFamily("elsa_edge_late_runs", "Inferences over their limit.", labels=labels)
    busy = CounterMetricFamily("elsa_edge_busy_seconds", "Time spent in inferences.", labels=labels)
    energy = CounterMetricFamily("elsa_edge_energy_joules", "What the device drew in them.", labels=labels)
    latency = GaugeMetricFamily(
        "elsa_edge_latency_seconds",
        "Latency of the latest 1000 inferences at this level.",
        labels=(*labels, "quantile"),
    )
    for level in stats.levels:
        where = (str(level.level), level.name)
        runs.add_metric(where, level.runs)
        late.add_metric(where, level.late)
        busy.add_metric(where, level.busy_ms * _S_PER_MS)
        if level.energy_j is not None:
            energy.add_metric(where, level.energy_j)
        for quantile, value_ms in _quantiles(level):
            latency.add_metric((*where, quantile), value_ms * _S_PER_MS)
    yield from (runs, late, busy, energy, latency)


def _quantiles(level: LevelStats) -> Iterator[tuple[str, float]]:
    for quantile, value_ms in (("0.5", level.p50_ms), ("0.95", level.p95_ms), ("0.99", level.p99_ms)):
        if value_ms is not None:
            yield quantile, value_ms


def _decisions(stats: SessionStats) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "elsa_edge_switches", "Inferences at another level than the one before.", stats.switches
    )
    yield CounterMetricFamily(
        "elsa_edge_rerouted_runs", "Inferences whose level changed on their way.", stats.rerouted
    )
    reasons = CounterMetricFamily("elsa_edge_decisions", "Decisions by reason code.", labels=("reason",))
    for reason, count in stats.reasons.items():
        reasons.add_metric((reason,), count)
    yield reasons
    chosen_by = CounterMetricFamily("elsa_edge_choices", "Inferences by who chose the level.", labels=("by",))
    for name, count in stats.chosen_by.items():
        chosen_by.add_metric((name,), count)
    yield chosen_by


def _device(stats: SessionStats) -> Iterator[Metric]:
    """Yield what the latest run saw; a figure that is unknown is left out."""
    if stats.last is None:
        return
    last, decision = stats.last, stats.last.decision
    for name, text, value in (
        ("next_level", "The level of the next inference.", float(decision.level)),
        ("feasible", "1 while some level is expected to hold the policy.", float(decision.feasible)),
        ("slowdown_ratio", "Latency over the measured table, all levels together.", decision.slowdown),
        ("miss_ratio", "Share of the window's inferences over the budget.", decision.miss_rate),
        ("available_bytes", "Memory that can still be allocated.", last.available_bytes),
        ("temperature_celsius", "The hottest zone.", last.temperature_c),
        ("clock_ratio", "Clock over the highest one.", last.clock_share),
        ("power_watts", "What the device draws.", last.power_w),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"elsa_edge_{name}", text, value)
