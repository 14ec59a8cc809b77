"""What the controller must hold, in its own units: milliseconds, bytes, fractions. Built from a profile's `qos`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from elsa_edge.control.shapes import QosSettings

__all__ = ["Policy"]

_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What must hold, and how eagerly levels change.

    Attributes:
        budget_ms: Time one inference may take; infinity for no limit.
        allowed_miss_rate: Share of runs that may exceed the budget, in (0, 1).
        window_runs: Runs over which that share is counted.
        reserve_bytes: Memory that must stay free for others.
        hysteresis_bytes: Free memory beyond the reserve that a level needing more memory asks for.
        pressure_limit_percent: Memory stall (PSI some avg10) from which levels only go down.
        temperature_limit_c: Temperature from which no denser level is entered.
        minimum_accuracy: Levels below are never used; 0 for no minimum.
        margin: A level fits while its predicted latency is at most budget * (1 - margin).
        up_margin: A denser level is entered only at or below budget * (1 - up_margin).
        up_after_runs: Runs in a row that a denser level must have fitted.
        dwell_ms: Shortest stay before going up.
        discard_runs: Cold runs that teach nothing after a load, switch or idle gap.
        idle_gap_ms: A pause that makes the next runs cold.
    """

    budget_ms: float = math.inf
    allowed_miss_rate: float = 0.05
    window_runs: int = 200
    reserve_bytes: float = 32 * _MB
    hysteresis_bytes: float = 16 * _MB
    pressure_limit_percent: float = 10.0
    temperature_limit_c: float = math.inf
    minimum_accuracy: float = 0.0
    margin: float = 0.0
    up_margin: float = 0.05
    up_after_runs: int = 8
    dwell_ms: float = 500.0
    discard_runs: int = 2
    idle_gap_ms: float = 2000.0

    @classmethod
    def from_qos(cls, qos: QosSettings) -> Policy:
        """Translate the `qos` section of a device profile."""
        switching = qos.switching
        return cls(
            budget_ms=math.inf if qos.latency_budget_ms is None else qos.latency_budget_ms,
            allowed_miss_rate=(100.0 - qos.latency_percentile) / 100.0,
            window_runs=qos.window_runs,
            reserve_bytes=qos.memory_reserve_mb * _MB,
            hysteresis_bytes=qos.memory_hysteresis_mb * _MB,
            pressure_limit_percent=qos.memory_pressure_percent,
            temperature_limit_c=math.inf if qos.temperature_limit_c is None else qos.temperature_limit_c,
            minimum_accuracy=qos.minimum_accuracy or 0.0,
            margin=switching.margin,
            up_margin=switching.up_margin,
            up_after_runs=switching.up_after_runs,
            dwell_ms=switching.dwell_ms,
            discard_runs=switching.discard_runs,
            idle_gap_ms=switching.idle_gap_ms,
        )
