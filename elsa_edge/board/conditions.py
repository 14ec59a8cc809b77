"""What a board says while it is measured: heat, clock, throttling, swapping; and what it is, without its owner's names.

Everything is read from the system's files below a root that tests may fake; what a board does not tell is None.
"""

from __future__ import annotations

import platform
import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from elsa_edge.control.probes import Probes

__all__ = ["Reading", "board_facts", "flags_of", "read"]

_ROOT: Final = Path("/")
_CPU: Final = "sys/devices/system/cpu"
# Raspberry Pi's firmware: bits as `vcgencmd get_throttled` documents them, for this moment.
_FIRMWARE: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"
_NOW: Final = {0: "too little voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SLOWER_CLOCK: Final = 0.95
_FEATURES: Final = ("asimd", "neon", "asimdhp", "asimddp", "i8mm", "sve", "avx2", "avx512f", "avx512_vnni")


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment.

    Attributes:
        temperature_c: The hottest zone.
        clock_mhz: The fastest core's clock now.
        throttled: What the firmware says of this moment.
        heat_events: How often a core was slowed since start, where the kernel counts it.
        swapped_pages: Pages that went to or came from swap since start.
        available_bytes: Memory that is free.
    """

    temperature_c: float | None
    clock_mhz: float | None
    throttled: tuple[str, ...]
    heat_events: int | None
    swapped_pages: int | None
    available_bytes: int | None

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"throttled": list(self.throttled)}


def read(root: Path = _ROOT) -> Reading:
    """Read everything once."""
    probed = Probes(root=root).read()
    bits = _hexadecimal(_text(root / _FIRMWARE))
    clocks = [_number(_text(path)) for path in root.glob(f"{_CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq")]
    known = [clock for clock in clocks if clock]
    swapped = re.findall(r"^pswp(?:in|out) (\d+)$", _text(root / "proc/vmstat"), re.MULTILINE)
    return Reading(
        temperature_c=probed.temperature_c,
        clock_mhz=max(known) / 1000 if known else None,
        throttled=tuple(name for bit, name in _NOW.items() if bits is not None and bits >> bit & 1),
        heat_events=_number(_text(root / _CPU / "cpu0/thermal_throttle/core_throttle_count")),
        swapped_pages=sum(map(int, swapped)) if swapped else None,
        available_bytes=probed.available_bytes,
    )


def flags_of(readings: Sequence[Reading]) -> list[str]:
    """Say what makes figures doubtful that were taken between these moments; nothing where all was well."""
    if not readings:
        return []
    first, last = readings[0], readings[-1]
    said = [
        f"the firmware said: {name}" for name in _NOW.values() if any(name in r.throttled for r in readings)
    ]
    if (
        first.heat_events is not None
        and last.heat_events is not None
        and last.heat_events > first.heat_events
    ):
        said.append(f"heat slowed the clock {last.heat_events - first.heat_events} times")
    clocks = [r.clock_mhz for r in readings[1:] if r.clock_mhz is not None]
    if clocks and min(clocks) < _SLOWER_CLOCK * max(clocks):
        said.append(f"the clock went from {max(clocks):.0f} down to {min(clocks):.0f} MHz")
    if first.swapped_pages is not None and last.swapped_pages is not None:
        pages = last.swapped_pages - first.swapped_pages
        if pages > 0:
            said.append(f"{pages} pages were swapped: memory was too small for what ran")
    return said


def board_facts(root: Path = _ROOT) -> dict[str, Any]:
    """Return what the board is; no serial number, no host, no user."""
    information = _text(root / "proc/cpuinfo")
    words = set(_field(information, "Features", "flags").split())
    model = _text(root / "proc/device-tree/model").rstrip("\0\n")
    memory = re.search(r"^MemTotal: *(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    bits = 8 * struct.calcsize("P")
    return {
        "model": model or _field(information, "Model", "model name") or platform.machine(),
        "cpu_part": _field(information, "CPU part") or None,
        "machine": platform.machine(),
        "userland_bits": bits,
        "cores": len(re.findall(r"^processor\b", information, re.MULTILINE)) or 1,
        "features": [name for name in _FEATURES if name in words],
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
        "governor": _text(root / _CPU / "cpu0/cpufreq/scaling_governor").strip() or None,
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
    }


def _field(text: str, *names: str) -> str:
    """Return the value of the first of these fields of /proc/cpuinfo."""
    for name in names:
        found = re.search(rf"^{re.escape(name)}\s*: *(.+)$", text, re.MULTILINE)
        if found:
            return found[1].strip()
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None
