"""Read free memory, memory pressure and temperature from the system's files, below a root that tests may fake.

    available = min(MemAvailable, limit - (usage - reclaimable file cache) of each control group we are in)

A file that is missing, unreadable or strange gives None for its figure; reading never fails. Sources: Linux
Documentation/filesystems/proc.rst, admin-guide/cgroup-v1/memory.rst, admin-guide/cgroup-v2.rst, accounting/psi.rst.
"""

from __future__ import annotations

import contextlib
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
_AVG10: Final = re.compile(r"^some .*?avg10=([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the device says about itself; None where it says nothing.

    Attributes:
        available_bytes: Memory that can still be allocated by this process.
        pressure_percent: Share of the last ten seconds in which some task stalled on memory.
        temperature_c: The hottest zone.
    """

    available_bytes: int | None = None
    pressure_percent: float | None = None
    temperature_c: float | None = None


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
        return Reading(min(known) if known else None, self._pressure_percent(), self._temperature_c())

    def _system_bytes(self) -> int | None:
        for line in _text(self.root / self.meminfo).splitlines():
            if line.startswith("MemAvailable:"):
                kilobytes = _integer(line.split()[1] if len(line.split()) > 1 else "")
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
    used = _integer(_text(group / usage).strip())
    found = [_integer(_text(group / limit).strip()) for limit in limits]
    limited = [limit for limit in found if limit is not None and limit < _NO_LIMIT_BYTES]
    if used is None or not limited:
        return
    cache = 0
    for line in _text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == reclaimable:
            cache = min(_integer(value) or 0, used)
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


def _glob(root: Path, pattern: str) -> list[Path]:
    try:
        return list(root.glob(pattern))
    except (OSError, ValueError, NotImplementedError):  # an absolute or empty pattern finds nothing
        return []
