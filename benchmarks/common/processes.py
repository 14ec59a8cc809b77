"""What must be measured in a fresh process: memory, and what a program does to the process that it runs in."""

from __future__ import annotations

import contextlib
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["anonymous_bytes", "in_subprocess"]


def anonymous_bytes() -> int:
    """Return this process's resident anonymous memory in bytes, after giving free heap back to the kernel.

    File-backed pages (memory-mapped weights) are not in it. Linux only: reads /proc/self/smaps_rollup.
    """
    with contextlib.suppress(AttributeError):  # musl has no malloc_trim: free heap then counts as used
        ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel's smaps_rollup has no Anonymous line")


def in_subprocess(function: str, *arguments: object, timeout_s: float = 600) -> Any:
    """Call `package.module:function` with JSON arguments in a fresh interpreter and return its JSON result.

    Raises:
        RuntimeError: When the process fails; the message carries the end of its stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.common", function, json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{function} failed in its process: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
