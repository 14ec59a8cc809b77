"""What slows the clock: its governor, heat, a weak power supply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from elsa_edge.control.probes import Probes
from elsa_edge.doctor.machine import Finding, Machine

__all__ = ["power"]

_HOT_C: Final = 80.0
_GOVERNOR: Final = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
# Raspberry Pi's firmware; bits as `vcgencmd get_throttled` documents them, 16 higher for "since it was started".
_FIRMWARE: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"
_BITS: Final = {0: "too little voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_START: Final = 16
_X86_COUNT: Final = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"


def power(machine: Machine) -> Iterator[Finding]:
    """Look at the governor, temperature and throttling."""
    governor = machine.text(_GOVERNOR).strip()
    if governor in ("powersave", "conservative", "ondemand"):
        advice = (
            "Latency jumps after pauses; measure with `performance`: cpupower frequency-set -g performance"
        )
        yield Finding("CPU governor", governor, "note", advice)
    else:
        yield Finding("CPU governor", governor or "not told")
    hottest = Probes(root=machine.root).read().temperature_c
    if hottest is not None:
        hot = hottest >= _HOT_C
        cool = "The CPU slows down at such temperatures; cool it" if hot else None
        yield Finding("temperature", f"{hottest:.0f} C", "note" if hot else "ok", cool)
    yield from _throttling(machine)


def _throttling(machine: Machine) -> Iterator[Finding]:
    told = machine.text(_FIRMWARE).strip()
    try:
        bits = int(told, 16) if told else None
    except ValueError:
        bits = None
    if bits is not None:
        now = [name for bit, name in _BITS.items() if bits >> bit & 1]
        before = [name for bit, name in _BITS.items() if bits >> (bit + _SINCE_START) & 1]
        found = f"now: {', '.join(now) or 'none'}; since start: {', '.join(before) or 'none'}"
        weak = _BITS[0] in (*now, *before)
        remedy = (
            "Use the supply that belongs to the board (5 V, 3 to 5 A) and a short cable"
            if weak
            else "Cool it"
        )
        yield Finding("throttling", found, *(("note", remedy) if now or before else ("ok", None)))
    count = machine.text(_X86_COUNT).strip()
    if count.isdecimal() and int(count):
        yield Finding("throttling", f"{count} times since start", "note", "Heat slows the clock: cool it")
