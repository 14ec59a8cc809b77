"""Shapes of the data that the controller is built from: profile sections and ladders, which live in other rooms.

`elsa_edge.profiles.schema` and `elsa_edge.bundle.manifest` are on the same floor, so they are described, not imported.
"""

# ruff: noqa: D102 - each member is documented where it is implemented

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["LadderRow", "MeasuredRow", "MeasuredTable", "ProbeSettings", "QosSettings", "SwitchingSettings"]


class SwitchingSettings(Protocol):
    """The shape of `qos.switching` in a device profile."""

    @property
    def margin(self) -> float: ...
    @property
    def up_margin(self) -> float: ...
    @property
    def up_after_runs(self) -> int: ...
    @property
    def dwell_ms(self) -> float: ...
    @property
    def discard_runs(self) -> int: ...
    @property
    def idle_gap_ms(self) -> float: ...


class QosSettings(Protocol):
    """The shape of `qos` in a device profile (`elsa_edge.profiles.schema.QoS`), which lives on the same floor."""

    @property
    def latency_budget_ms(self) -> float | None: ...
    @property
    def latency_percentile(self) -> float: ...
    @property
    def window_runs(self) -> int: ...
    @property
    def memory_reserve_mb(self) -> float: ...
    @property
    def memory_hysteresis_mb(self) -> float: ...
    @property
    def memory_pressure_percent(self) -> float: ...
    @property
    def temperature_limit_c(self) -> float | None: ...
    @property
    def minimum_accuracy(self) -> float | None: ...
    @property
    def switching(self) -> SwitchingSettings: ...


class LadderRow(Protocol):
    """A level of a ladder or manifest."""

    @property
    def name(self) -> str: ...
    @property
    def sparsity(self) -> float: ...
    @property
    def density(self) -> float | None: ...
    @property
    def flops_fraction(self) -> float | None: ...
    @property
    def accuracy(self) -> float | None: ...


class MeasuredRow(Protocol):
    """A level of a profile's measured table."""

    @property
    def name(self) -> str: ...
    @property
    def p50_ms(self) -> float | None: ...
    @property
    def p95_ms(self) -> float | None: ...
    @property
    def switch_ms(self) -> float | None: ...
    @property
    def memory_bytes(self) -> int | None: ...
    @property
    def accuracy(self) -> float | None: ...


class MeasuredTable(Protocol):
    """The shape of `measured` in a device profile."""

    @property
    def levels(self) -> Sequence[MeasuredRow]: ...


class ProbeSettings(Protocol):
    """The shape of `probes` in a device profile."""

    @property
    def root(self) -> str: ...
    @property
    def meminfo(self) -> str: ...
    @property
    def cgroup(self) -> str | None: ...
    @property
    def pressure(self) -> str | None: ...
    @property
    def thermal(self) -> Sequence[str]: ...
