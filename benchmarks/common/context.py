"""Where and with what a benchmark ran: without it a figure means nothing."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.common.claims import Row

__all__ = ["context", "same_machine"]

_PACKAGES: Final = (
    "elsa-edge",
    "numpy",
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "ai-edge-litert",
    "tflite-runtime",
)
_ISA: Final = (
    "sse4_2",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "amx_tile",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def _cpu() -> tuple[str, list[str]]:
    """Return the CPU's name and the instruction sets of `_ISA` that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    facts = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in reversed(lines))
        if value
    }
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return facts.get("model name") or facts.get("Model") or platform.machine(), [
        isa for isa in _ISA if isa in flags
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def context() -> Row:
    """Return what a reader needs to judge a measurement: machine, load, versions, settings."""
    cpu, isa = _cpu()
    return {
        "date_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": platform.machine(),
        "cpu": cpu,
        "isa": isa,
        "logical_cpus": os.cpu_count(),
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_1_5_15_min": [round(load, 2) for load in os.getloadavg()],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "clock": "CPU time of the calling thread for ratios, unless a row says otherwise",
    }


def same_machine(facts: Row, others: Row) -> bool:
    """Tell whether two contexts are of one kind of machine: only then may their rows stand in one file."""
    return all(facts.get(key) == others.get(key) for key in ("machine", "cpu", "logical_cpus"))
