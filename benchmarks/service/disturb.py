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
_PERIOD_US: Final = 100_000


def stress_ng() -> str | None:
    """Return the program that makes load, where it is installed."""
    return shutil.which("stress-ng")


@contextlib.contextmanager
def bursts(core: int, on_s: float, off_s: float, workers: int) -> Iterator[None]:
    """Load one core for `on_s` out of every `on_s + off_s` seconds, with as many processes as `workers`."""
    program = stress_ng()
    assert program is not None
    load = f"{program} --taskset {core} --cpu {workers} --cpu-method matrixprod --timeout {on_s}s -q"
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

    def add(self, pid: int) -> None:
        """Put a process in."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def set_quota(self, share: float) -> None:
        """Allow this share of one core."""
        quota = int(share * _PERIOD_US)
        if self._unified:
            (self._folder / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        else:
            (self._folder / "cpu.cfs_quota_us").write_text(str(quota))

    def used_bytes(self) -> int:
        """Return the memory in use."""
        name = "memory.current" if self._unified else "memory.usage_in_bytes"
        return int((self._folder / name).read_text())

    def set_memory(self, limit_bytes: int | None) -> None:
        """Limit the memory; None for no limit."""
        name = "memory.max" if self._unified else "memory.limit_in_bytes"
        none = "max" if self._unified else "-1"
        (self._folder / name).write_text(none if limit_bytes is None else str(limit_bytes))

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder


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
