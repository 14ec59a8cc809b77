"""Memory and what limits it, control groups, processor time, and what old bundles have left on the disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from elsa_edge.control.probes import Probes
from elsa_edge.doctor.machine import Finding, Machine

__all__ = ["caches", "limits", "memory"]

_MB: Final = 1_000_000
_LITTLE_MEMORY_BYTES: Final = 64 * _MB
_HIGH_PRESSURE_PERCENT: Final = 10.0
# v1 writes "no limit" as the largest page-aligned integer.
_NO_LIMIT: Final = 1 << 60
_OLD_DAYS: Final = 30
_DAY_S: Final = 86_400


def memory(machine: Machine) -> Iterator[Finding]:
    """Look at free memory and at how hard others press."""
    reading = Probes(root=machine.root).read()
    if reading.available_bytes is None:
        yield Finding("free memory", "unknown", "note", "The controller cannot heed memory here: mount /proc")
    else:
        little = reading.available_bytes < _LITTLE_MEMORY_BYTES
        advice = "Use ort-levels, or free some memory" if little else None
        found = f"{reading.available_bytes / _MB:.0f} MB"
        yield Finding("free memory", found, "note" if little else "ok", advice)
    if reading.pressure_percent is None:
        advice = "psi=1 on the kernel's command line, if the controller shall heed it"
        yield Finding("memory pressure", "not told by this kernel (PSI)", "ok", advice)
    elif reading.pressure_percent > _HIGH_PRESSURE_PERCENT:
        advice = "Something else needs the memory: `ps -eo rss,comm --sort -rss | head` names it"
        yield Finding("memory pressure", f"{reading.pressure_percent:g} %", "note", advice)
    else:
        yield Finding("memory pressure", f"{reading.pressure_percent:g} %")


def limits(machine: Machine) -> Iterator[Finding]:
    """Look at the control groups that this process is in: the tightest limit of each kind counts."""
    yield Finding("control groups", ", ".join(_kinds(machine)) or "none")
    sizes = [*_figures(machine, "memory", "memory.limit_in_bytes"), *_figures(machine, "", "memory.max")]
    bytes_told = [int(words[0]) for words in sizes if words[0].isdecimal() and int(words[0]) < _NO_LIMIT]
    if bytes_told:
        least = min(bytes_told)
        little = least < _LITTLE_MEMORY_BYTES
        advice = "Raise MemoryMax= of the service, or set deploy.max_level lower" if little else None
        yield Finding("memory limit", f"{least / _MB:.0f} MB", "note" if little else "ok", advice)
    shares = [share for share in _processor_shares(machine) if share is not None]
    if shares and min(shares) < machine.cores:
        advice = (
            f"Set runtime.threads to at most {max(1, int(min(shares)))}: more threads wait for each other's share; "
            "or raise CPUQuota= of the service"
        )
        yield Finding("processor limit", f"{min(shares):.2g} of {machine.cores} cores", "note", advice)


def _kinds(machine: Machine) -> list[str]:
    places = {"v1 memory": "memory/memory.limit_in_bytes", "v2": "cgroup.controllers"}
    return [kind for kind, path in places.items() if (machine.root / "sys/fs/cgroup" / path).exists()]


def _processor_shares(machine: Machine) -> Iterator[float | None]:
    """Yield processors that each group may use: quota / period (cgroup-v2.rst, sched-bwc.rst)."""
    for words in _figures(machine, "", "cpu.max"):
        yield _share(*words[:2]) if len(words) > 1 else None
    quotas, periods = (list(_figures(machine, "cpu", f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    for quota, period in zip(quotas, periods, strict=False):
        yield _share(quota[0], period[0])


def _share(quota: str, period: str) -> float | None:
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _figures(machine: Machine, controller: str, file: str) -> Iterator[list[str]]:
    """Yield the words of a file of each group that this process is in, from its own up to the mount's root."""
    mount = machine.root / "sys/fs/cgroup" / controller
    for line in machine.text("proc/self/cgroup").splitlines() or ["0::/"]:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller not in controllers.split(","):
            continue
        own = PurePosixPath("/", path)
        for group in (own, *own.parents):
            words = machine.text(
                str((mount / group.relative_to("/") / file).relative_to(machine.root))
            ).split()
            if words:
                yield words


def caches(machine: Machine) -> Iterator[Finding]:
    """Look for derived files that nothing has used for a month."""
    if machine.cache is None or not machine.cache.is_dir():
        return
    sizes, old = 0, 0
    for entry in machine.cache.iterdir():
        size, last_s = _size_and_use(entry)
        sizes += size
        old += size if time.time() - last_s > _OLD_DAYS * _DAY_S else 0
    advice = f"rm -r {machine.cache} frees it; what is needed is made again" if old else None
    found = f"{sizes / _MB:.0f} MB in {machine.cache}"
    if old:
        found += f", {old / _MB:.0f} MB of it unused for {_OLD_DAYS} days"
    yield Finding("cache", found, "note" if old else "ok", advice)


def _size_and_use(entry: Path) -> tuple[int, float]:
    """Return bytes and when something in it was last read or written, in seconds since the epoch."""
    size, last_s = 0, 0.0
    for path in (entry, *entry.rglob("*")):
        try:
            told = path.lstat()
        except OSError:  # another process tidies up
            continue
        size += told.st_size if path.is_file() else 0
        last_s = max(last_s, told.st_mtime, told.st_atime if path.is_file() else 0.0)
    return size, last_s
