"""Disturbances of this machine that end with the benchmark: load on a core, a CPU quota, a memory limit.

Control groups of version 1 or 2 are used where they can be written; where they cannot, the caller says that the part
was not measured.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["Group", "bursts", "group", "stress_ng"]

_ROOT: Final = Path("/sys/fs/cgroup")
# Short, so that a quota is a slower core for inferences of a few milliseconds, not stalls longer than their budget; and
# no shorter, because the kernel gives at least one millisecond of each.
_PERIOD_US: Final = 4_000


def stress_ng() -> str | None:
    """Return the program that makes load, where it is installed."""
    return shutil.which("stress-ng")


@contextlib.contextmanager
def bursts(core: int, on_s: float, off_s: float, workers: int, nice: int = 0) -> Iterator[None]:
    """Load one core for `on_s` out of every `on_s + off_s` seconds, with as many processes as `workers`."""
    program = stress_ng()
    assert program is not None
    # stress-ng counts whole seconds, and takes less than one for "no end": `timeout` ends it.
    load = (
        f"timeout -s INT {on_s} nice -n {nice} {program} --taskset {core} --cpu {workers}"
        " --cpu-method matrixprod --timeout 60 -q"
    )
    loop = f"while true; do {load}; sleep {off_s}; done"
    process = subprocess.Popen(["sh", "-c", loop], start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait()


class Group:
    """A control group for a child: its share of a core, and its memory."""

    def __init__(self, kind: str, folder: Path, *, unified: bool) -> None:
        self._folder, self._unified = folder, unified
        self.kind = kind

    @property
    def members(self) -> Path:
        """The file that a process is put in by, which writes its number there."""
        return self._folder / "cgroup.procs"

    def set_quota(self, share: float | None) -> None:
        """Allow this share of one core; None for no limit, which 1 is as well."""
        free = share is None or share >= 1.0
        quota = "" if free else str(int((share or 0.0) * _PERIOD_US))
        if self._unified:
            (self._folder / "cpu.max").write_text(f"{quota or 'max'} {_PERIOD_US}")
        else:
            (self._folder / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (self._folder / "cpu.cfs_quota_us").write_text(quota or "-1")

    def set_priority(self, nice: int) -> None:
        """Give the group the weight of a process of this priority: inside it, priorities count among themselves."""
        weight = 1.25**-nice
        if self._unified:
            (self._folder / "cpu.weight").write_text(str(max(1, min(10_000, round(100 * weight)))))
        else:
            (self._folder / "cpu.shares").write_text(str(round(1024 * weight)))

    def used_bytes(self) -> int:
        """Return the memory in use."""
        name = "memory.current" if self._unified else "memory.usage_in_bytes"
        return int((self._folder / name).read_text())

    def set_memory(self, limit_bytes: int | None) -> None:
        """Limit the memory; None for no limit."""
        name = "memory.max" if self._unified else "memory.limit_in_bytes"
        none = "max" if self._unified else "-1"
        (self._folder / name).write_text(none if limit_bytes is None else str(limit_bytes))


@contextlib.contextmanager
def group(kind: str) -> Iterator[Group | None]:
    """Make a control group of a kind (`cpu`, `memory`) and remove it afterwards; None where none can be made."""
    unified = (_ROOT / "cgroup.controllers").is_file()
    folder = (_ROOT if unified else _ROOT / kind) / f"elsa-edge-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        controllers = folder / "cgroup.controllers"
        if unified and kind not in controllers.read_text().split():
            folder.rmdir()
            yield None
            return
    except OSError:
        yield None
        return
    try:
        yield Group(kind, folder, unified=unified)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()
