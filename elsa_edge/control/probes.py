"""Read memory, pressure, heat, clock, power and CPU limits from the system's files, below a root that tests may fake.

    available = min(MemAvailable, limit - (usage - reclaimable file cache) of each control group we are in)
    power     = sum of hwmon power*_input, or else of the batteries' current x voltage

A file that is missing, unreadable or strange gives None for its figure; reading never fails. Sources: Linux
Documentation/filesystems/proc.rst, accounting/psi.rst, hwmon/sysfs-interface.rst, ABI/testing/sysfs-class-power; the
bits of get_throttled are those of a Raspberry Pi.
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elsa_edge.control.groups import cpu_cores, left_bytes
from elsa_edge.control.shapes import ProbeSettings
from elsa_edge.control.tell import amount, integer, matching, text

__all__ = ["Probes", "Reading"]

_SENSIBLE_C: Final = (-60.0, 250.0)  # sensors that are off answer -274 or 0xffff
# Kept by the kernel under fixed names, and read only where they are.
_FIRMWARE: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"
_CLOCKS: Final = "sys/devices/system/cpu/cpufreq/policy*"
_METERS: Final = "sys/class/hwmon/hwmon*/power*_input"
_BATTERIES: Final = "sys/class/power_supply/*"
# Now: under-voltage, capped clock, throttled, soft temperature limit. Higher bits say that it once was so.
_THROTTLED_NOW: Final = 0b1111
_MICRO: Final = 1e-6
_ALL_PERCENT: Final = 100.0
_MOST_KILOBYTES: Final = 1 << 50  # more memory than 64 bits can address is nonsense
_AVG10: Final = re.compile(r"^some .*?avg10=([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the device says about itself; None where it says nothing.

    Attributes:
        available_bytes: Memory that can still be allocated by this process.
        pressure_percent: Share of the last ten seconds in which some task stalled on memory.
        temperature_c: The hottest zone.
        throttled: Whether a Raspberry Pi's firmware holds the clock down at present.
        clock_share: Clock over the highest one, of the slowest group of cores.
        power_w: What the device draws, by its meters, or else what its batteries give or take.
        cpu_cores: Cores whose time the control groups allow this process; a container's CPU limit.
    """

    available_bytes: int | None = None
    pressure_percent: float | None = None
    temperature_c: float | None = None
    throttled: bool | None = None
    clock_share: float | None = None
    power_w: float | None = None
    cpu_cores: float | None = None

    @property
    def heat_c(self) -> float | None:
        """The temperature that the controller is told: above every limit while the firmware throttles."""
        return math.inf if self.throttled else self.temperature_c


@dataclass(frozen=True, slots=True)
class Probes:
    """Where to read. Paths are relative to `root`.

    Attributes:
        root: Prefix of every path.
        meminfo: The kernel's memory figures.
        cgroup: Mount of the control groups, v1 or v2 (or both, as hybrid systems do); None to ignore them.
        pressure: Memory pressure stall information; None to ignore it.
        thermal: Patterns of temperature files.
    """

    root: Path = Path("/")
    meminfo: str = "proc/meminfo"
    cgroup: str | None = "sys/fs/cgroup"
    pressure: str | None = "proc/pressure/memory"
    thermal: tuple[str, ...] = ("sys/class/thermal/thermal_zone*/temp",)

    @classmethod
    def from_settings(cls, settings: ProbeSettings) -> Probes:
        """Translate the `probes` section of a device profile."""
        return cls(
            Path(settings.root), settings.meminfo, settings.cgroup, settings.pressure, tuple(settings.thermal)
        )

    def read(self) -> Reading:
        """Read everything once; takes about a millisecond on a PC."""
        groups = () if self.cgroup is None else left_bytes(self.root, self.cgroup)
        figures = [self._system_bytes(), *groups]
        known = [figure for figure in figures if figure is not None]
        return Reading(
            min(known) if known else None,
            self._pressure_percent(),
            self._temperature_c(),
            self._throttled(),
            self._clock_share(),
            self._power_w(),
            None if self.cgroup is None else cpu_cores(self.root, self.cgroup),
        )

    def _throttled(self) -> bool | None:
        try:
            return bool(int(text(self.root / _FIRMWARE).strip(), 16) & _THROTTLED_NOW)
        except ValueError:
            return None

    def _clock_share(self) -> float | None:
        shares = []
        for policy in matching(self.root, _CLOCKS):
            now = integer(text(policy / "scaling_cur_freq").strip())
            most = integer(text(policy / "cpuinfo_max_freq").strip())
            if now is not None and most is not None and 0 < now <= 2 * most:
                shares.append(now / most)
        return min(shares, default=None)

    def _power_w(self) -> float | None:
        found = [integer(text(path).strip()) for path in matching(self.root, _METERS)]
        meters = [watts * _MICRO for watts in found if watts is not None and watts >= 0]
        if meters:
            return sum(meters)
        batteries = []
        for battery in matching(self.root, _BATTERIES):
            current = integer(text(battery / "current_now").strip())
            voltage = integer(text(battery / "voltage_now").strip())
            if current is not None and voltage is not None and voltage > 0:
                # Some drivers count what flows out as negative.
                batteries.append(abs(current) * _MICRO * voltage * _MICRO)
        return sum(batteries) if batteries else None

    def _system_bytes(self) -> int | None:
        told: dict[str, int | None] = {}
        for line in text(self.root / self.meminfo).splitlines():
            name, *words = line.split()[:2] or [""]
            told[name] = amount("".join(words))
            if name == "MemAvailable:":
                break
        available, total = told.get("MemAvailable:"), told.get("MemTotal:")
        if available is None or available > (_MOST_KILOBYTES if total is None else total):
            return None
        return available * 1024

    def _pressure_percent(self) -> float | None:
        if self.pressure is None:
            return None
        match = _AVG10.search(text(self.root / self.pressure))
        with contextlib.suppress(ValueError):
            percent = float(match[1]) if match else None
            return percent if percent is not None and percent <= _ALL_PERCENT else None
        return None

    def _temperature_c(self) -> float | None:
        hottest = None
        for pattern in self.thermal:
            for path in matching(self.root, pattern):
                raw = integer(text(path).strip())
                if raw is None:
                    continue
                degrees = raw / 1000.0 if abs(raw) >= 1000 else float(raw)  # some kernels write whole degrees
                if _SENSIBLE_C[0] <= degrees <= _SENSIBLE_C[1]:
                    hottest = degrees if hottest is None else max(hottest, degrees)
        return hottest
