"""What was expected beside what a measured profile says: how far preflight can be trusted on this device.

error = expected / measured - 1
"""

from __future__ import annotations

from dataclasses import dataclass

from elsa_edge.preflight.facts import Preflight
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["Beside", "beside"]


@dataclass(frozen=True, slots=True)
class Beside:
    """A level of the variant that was measured."""

    variant: str
    level: str
    expected_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """By how much the expected time is too long (above 0) or too short."""
        return self.expected_ms / self.measured_ms - 1


def beside(found: Preflight, profile: DeviceProfile) -> tuple[Beside, ...]:
    """Return a row for each level of which both are known; none where the profile was measured at other levels."""
    table = profile.measured
    names = [level.name for level in found.levels]
    if table is None or [row.name for row in table.levels] != names:
        return ()
    verdicts = {verdict.name: verdict for verdict in found.variants if verdict.level_ms}
    verdict = verdicts.get(table.variant or "")
    if verdict is None:
        return ()
    return tuple(
        Beside(verdict.name, row.name, expected_ms, row.p50_ms)
        for row, expected_ms in zip(table.levels, verdict.level_ms, strict=True)
        if row.p50_ms is not None
    )
