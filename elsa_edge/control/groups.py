"""What the control groups around this process allow: memory that is left, and processor time. Versions 1 and 2.

    left  = limit - (usage - reclaimable file cache)
    cores = quota / period

Every group from ours up to the root counts; the tightest one is what holds. Sources: Linux Documentation
admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst, admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

from elsa_edge.control.tell import amount, text

__all__ = ["cpu_cores", "left_bytes"]

_NO_LIMIT_BYTES: Final = 1 << 60  # v1 writes "no limit" as the largest page-aligned integer


def left_bytes(root: Path, mount: str) -> Iterator[int]:
    """Yield what each limited group leaves of its memory."""
    for unified, group in _around_us(root, mount, "memory"):
        if unified:
            yield from _left(group, ("memory.max", "memory.high"), "memory.current", "inactive_file")
        else:
            yield from _left(
                group, ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"
            )


def cpu_cores(root: Path, mount: str) -> float | None:
    """Return how many cores' time the tightest quota allows; None where there is none."""
    found = []
    for unified, group in _around_us(root, mount, "cpu"):
        if unified:
            quota, period = [*text(group / "cpu.max").split(), "", ""][:2]
        else:
            quota, period = text(group / "cpu.cfs_quota_us"), text(group / "cpu.cfs_period_us")
        # Without a limit version 1 writes -1, and version 2 writes "max": neither is an amount.
        allowed, every = amount(quota.strip()), amount(period.strip())
        if allowed and every:
            found.append(allowed / every)
    return min(found, default=None)


def _around_us(root: Path, mount: str, controller: str) -> tuple[tuple[bool, Path], ...]:
    """Return the folders of our groups that a controller counts in, and whether they are of version 2."""
    return _folders(text(root / "proc/self/cgroup"), root / mount, controller)


# A process seldom moves, and making paths costs as much as reading the files.
@lru_cache(maxsize=8)
def _folders(ours: str, mount: Path, controller: str) -> tuple[tuple[bool, Path], ...]:
    found: list[tuple[bool, Path]] = []
    lines = ours.splitlines() or ["0::/"]
    # Beside groups of version 1 those of version 2 have a folder of their own.
    unified = (mount,) if len(lines) == 1 else (mount, mount / "unified")
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            found += [(True, group) for at in unified for group in _lineage(at, path)]
        elif controller in controllers.split(","):
            # Usually a link stands for each controller of those that are mounted together, but not everywhere.
            found += [
                (False, group)
                for at in dict.fromkeys((mount / controller, mount / controllers))
                for group in _lineage(at, path)
            ]
    return tuple(found)


def _lineage(mount: Path, group: str) -> list[Path]:
    """Return the folders of a group and all its ancestors up to the mount; inside a container only the mount exists."""
    relative = PurePosixPath(group.strip().lstrip("/"))
    if ".." in relative.parts:
        return [mount]
    return [mount / part for part in (relative, *relative.parents)]


def _left(group: Path, limits: Sequence[str], usage: str, reclaimable: str) -> Iterator[int]:
    used = amount(text(group / usage).strip())
    found = [amount(text(group / limit).strip()) for limit in limits]
    limited = [limit for limit in found if limit is not None and limit < _NO_LIMIT_BYTES]
    if used is None or not limited:
        return
    cache = 0
    for line in text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == reclaimable:
            cache = min(amount(value) or 0, used)
    yield max(0, min(limited) - (used - cache))
