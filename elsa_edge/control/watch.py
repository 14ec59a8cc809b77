"""What a session watches: a clock that never goes back, and the device's figures, which are read once an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from elsa_edge.control.pressure import PressureTrigger
from elsa_edge.control.probes import Probes, Reading
from elsa_edge.control.shapes import ProbeSettings

__all__ = ["SteadyClock", "Watch"]

_MS_PER_S: Final = 1e3


class SteadyClock:
    """A caller's clock in milliseconds, which goes on from where it was when that is set back.

    Args:
        clock_s: Seconds, as `time.monotonic` tells them; or `time.time`, which may be set.

    Attributes:
        set_back_ms: By how much it was set back so far.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._latest_ms = -math.inf
        self.set_back_ms = 0.0

    def now_ms(self) -> float:
        """Return the time; what is no finite number is passed on, and remembered by nobody."""
        now_ms = self._clock_s() * _MS_PER_S + self.set_back_ms
        if now_ms < self._latest_ms:
            self.set_back_ms += self._latest_ms - now_ms
            return self._latest_ms
        if math.isfinite(now_ms):
            self._latest_ms = now_ms
        return now_ms


class Watch:
    """The latest reading of the device, and the trigger that asks for a new one at once.

        free(level) = free as it was read + memory(level in use then) - memory(level)

    A reading serves for an interval, in which the level may change: what one level left free says of another only when
    the difference between the two is reckoned in. Otherwise one shortage would be charged to each level in turn.

    Args:
        settings: The `probes` section of a profile.
        pressure_percent: Memory stall from which the policy goes down.

    Attributes:
        reading: The latest; empty before the first.
        in_use_bytes: Memory of the level that is in use now, by the same figures as in `free_bytes`.
    """

    def __init__(self, settings: ProbeSettings, pressure_percent: float) -> None:
        self.reading = Reading()
        self.in_use_bytes = self._in_use_then_bytes = 0
        self._probes = Probes.from_settings(settings)
        self._interval_ms, self._pressure_percent = settings.interval_ms, pressure_percent
        self._read_ms = -math.inf
        self._trigger: PressureTrigger | None = None
        # Files below another root are no kernel's.
        if settings.pressure is not None and Path(settings.root) == Path("/"):
            self._trigger = PressureTrigger(Path(settings.root) / settings.pressure, pressure_percent)

    def is_due(self, now_ms: float) -> bool:
        """Return whether the latest reading is an interval old or more; not before the first."""
        return self._interval_ms <= now_ms - self._read_ms < math.inf

    def read(self, now_ms: float) -> Reading:
        """Return the latest reading: a new one once an interval, since it costs time, or when memory is stalled on."""
        stalled = self._trigger is not None and self._trigger.fired()
        if stalled or now_ms - self._read_ms >= self._interval_ms:
            self.reading = self._probes.read()
            self._read_ms, self._in_use_then_bytes = now_ms, self.in_use_bytes
        if stalled:  # the average says so ten seconds later
            percent = max(self._pressure_percent, self.reading.pressure_percent or 0.0)
            self.reading = replace(self.reading, pressure_percent=percent)
        return self.reading

    def free_bytes(self, level_bytes: int) -> int | None:
        """Return the free memory as it would be with a level in use that needs so much; None where none is read."""
        free = self.reading.available_bytes
        return None if free is None else max(0, free + self._in_use_then_bytes - level_bytes)

    def close(self) -> None:
        """Take the trigger back."""
        if self._trigger is not None:
            self._trigger.close()
