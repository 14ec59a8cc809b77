"""Read memory, pressure, heat, clock and power from the system's files, below a root that tests may fake.

    available = min(MemAvailable, limit - (usage - reclaimable file cache) of each control group we are in)
    power     = sum of hwmon power*_input, or else of the batteries' current x voltage

A file that is missing, unreadable or strange gives None for its figure; reading never fails. Sources: Linux
Documentation/filesystems/proc.rst, admin-guide/cgroup-v1/memory.rst, admin-guide/cgroup-v2.rst, accounting/psi.rst,
hwmon/sysfs-interface.rst, ABI/testing/sysfs-class-power; the bits of get_throttled are those of a Raspberry Pi.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from elsa_edge.control.shapes import ProbeSettings

__all__ = ["Probes", "Reading"]

_LONGEST_CHARACTERS: Final = 1 << 16
_NO_LIMIT_BYTES: Final = 1 << 60  # v1 writes "no limit" as the largest page-aligned integer
_SENSIBLE_C: Final = (-60.0, 250.0)  # sensors that are off answer -274 or 0xffff
# Kept by the kernel under fixed names, and read only where they are.
_FIRMWARE: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"
_CLOCKS: Final = "sys/devices/system/cpu/cpufreq/policy*"
_METERS: Final = "sys/class/hwmon/hwmon*/power*_input"
_BATTERIES: Final = "sys/class/power_supply/*"
# Now: under-voltage, capped clock, throttled, soft temperature limit. Higher bits say that it once was so.
_THROTTLED_NOW: Final = 0b1111
_MICRO: Final = 1e-6
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
    """

    available_bytes: int | None = None
    pressure_percent: float | None = None
    temperature_c: float | None = None
    throttled: bool | None = None
    clock_share: float | None = None
    power_w: float | None = None

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
        """Read everything once; takes well under a millisecond on a PC."""
        figures = [self._system_bytes(), *self._group_bytes()]
        known = [figure for figure in figures if figure is not None]
        return Reading(
            min(known) if known else None,
            self._pressure_percent(),
            self._temperature_c(),
            self._throttled(),
            self._clock_share(),
            self._power_w(),
        )

    def _throttled(self) -> bool | None:
        try:
            return bool(int(_text(self.root / _FIRMWARE).strip(), 16) & _THROTTLED_NOW)
        except ValueError:
            return None

    def _clock_share(self) -> float | None:
        shares = []
        for policy in _glob(self.root, _CLOCKS):
            now = _integer(_text(policy / "scaling_cur_freq").strip())
            most = _integer(_text(policy / "cpuinfo_max_freq").strip())
            if now is not None and most is not None and 0 < now <= 2 * most:
                shares.append(now / most)
        return min(shares, default=None)

    def _power_w(self) -> float | None:
        found = [_integer(_text(path).strip()) for path in _glob(self.root, _METERS)]
        meters = [watts * _MICRO for watts in found if watts is not None and watts >= 0]
        if meters:
            return sum(meters)
        batteries = []
        for battery in _glob(self.root, _BATTERIES):
            current = _integer(_text(battery / "current_now").strip())
            voltage = _integer(_text(battery / "voltage_now").strip())
            if current is not None and voltage is not None and voltage > 0:
                # Some drivers count what flows out as negative.
                batteries.append(abs(current) * _MICRO * voltage * _MICRO)
        return sum(batteries) if batteries else None

    def _system_bytes(self) -> int | None:
        for line in _text(self.root / self.meminfo).splitlines():
            if line.startswith("MemAvailable:"):
                kilobytes = _amount(line.split()[1] if len(line.split()) > 1 else "")
                return None if kilobytes is None else kilobytes * 1024
        return None

    def _group_bytes(self) -> Iterator[int]:
        """Yield what each limited control group that holds this process leaves."""
        if self.cgroup is None:
            return
        mount = self.root / self.cgroup
        for line in _text(self.root / "proc/self/cgroup").splitlines() or ["0::/"]:
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if not controllers:
                for group in _lineage(mount, path):
                    yield from _left(group, ("memory.max", "memory.high"), "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                for group in _lineage(mount / "memory", path):
                    yield from _left(
                        group, ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"
                    )

    def _pressure_percent(self) -> float | None:
        if self.pressure is None:
            return None
        match = _AVG10.search(_text(self.root / self.pressure))
        with contextlib.suppress(ValueError):
            return float(match[1]) if match else None
        return None

    def _temperature_c(self) -> float | None:
        hottest = None
        for pattern in self.thermal:
            for path in _glob(self.root, pattern):
                raw = _integer(_text(path).strip())
                if raw is None:
                    continue
                degrees = raw / 1000.0 if abs(raw) >= 1000 else float(raw)  # some kernels write whole degrees
                if _SENSIBLE_C[0] <= degrees <= _SENSIBLE_C[1]:
                    hottest = degrees if hottest is None else max(hottest, degrees)
        return hottest


def _lineage(mount: Path, group: str) -> list[Path]:
    """Return the folders of a group and all its ancestors up to the mount; inside a container only the mount exists."""
    relative = PurePosixPath(group.strip().lstrip("/"))
    if ".." in relative.parts:
        return [mount]
    return [mount / part for part in (relative, *relative.parents)]


def _left(group: Path, limits: Sequence[str], usage: str, reclaimable: str) -> Iterator[int]:
    used = _amount(_text(group / usage).strip())
    found = [_amount(_text(group / limit).strip()) for limit in limits]
    limited = [limit for limit in found if limit is not None and limit < _NO_LIMIT_BYTES]
    if used is None or not limited:
        return
    cache = 0
    for line in _text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == reclaimable:
            cache = min(_amount(value) or 0, used)
    yield max(0, min(limited) - (used - cache))


def _text(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as stream:
            return stream.read(_LONGEST_CHARACTERS)
    except OSError:
        return ""


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _amount(text: str) -> int | None:
    """Return an amount of memory; one below zero, or beyond what 64 bits hold, is nonsense."""
    found = _integer(text)
    return found if found is not None and 0 <= found < 2**63 else None


def _glob(root: Path, pattern: str) -> list[Path]:
    try:
        return list(root.glob(pattern))
    except (OSError, ValueError, NotImplementedError):  # an absolute or empty pattern finds nothing
        return []
