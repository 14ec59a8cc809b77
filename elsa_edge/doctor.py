"""Facts about a machine that decide whether networks run on it, each with advice where it matters.

Every reader takes a root prefix, so that a test can show it another machine. Known traps come from the issue trackers
of the runtimes: wheels built for newer ARM cores than the Pi 4's (Illegal instruction), tflite-runtime against
NumPy 2, no onnxruntime wheel for 32-bit ARM or old Pythons, 16 KiB pages.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from elsa_edge.control.probes import Probes

__all__ = ["Finding", "Machine", "examine"]

_OLDEST_PYTHON: Final = (3, 11)
_MB: Final = 1_000_000
_LITTLE_MEMORY_BYTES: Final = 64 * _MB
_HIGH_PRESSURE_PERCENT: Final = 10.0
_SWITCH_CACHE_RUNTIME: Final = (1, 31, 1)
_RUNTIMES: Final = ("onnxruntime", "ai-edge-litert", "tflite-runtime")
_ISA: Final = {
    "x86_64": ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_tile"),
    "aarch64": ("asimd", "fphp", "asimdhp", "asimddp", "i8mm", "sve"),
    "armv7l": ("neon", "vfpv4"),
}

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact.

    Attributes:
        what: What was looked at.
        found: What was found.
        state: "ok", "note" (works, but may disappoint) or "problem" (networks will not run).
        advice: What to do, for a note or a problem.
    """

    what: str
    found: str
    state: State = "ok"
    advice: str | None = None


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the facts come from; a test gives another root, architecture or set of packages.

    Attributes:
        root: Prefix of /proc and /sys.
        architecture: As `uname -m` says it.
        python: Version of the interpreter.
        installed: Returns a package's version, or None.
        page_bytes: Size of a memory page.
    """

    root: Path = Path("/")
    architecture: str = platform.machine()
    python: tuple[int, ...] = sys.version_info[:3]
    installed: Callable[[str], str | None] = _installed
    page_bytes: int = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

    def text(self, path: str) -> str:
        """Return a file below the root; empty when there is none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def examine(machine: Machine | None = None) -> list[Finding]:
    """Return everything that was found, the basics first."""
    seen = machine or Machine()
    return [
        finding for look in (_python, _cpu, _runtimes, _extras, _memory, _power) for finding in look(seen)
    ]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in text.split(".")[:3])


def _python(machine: Machine) -> Iterator[Finding]:
    found = ".".join(map(str, machine.python))
    if machine.python < _OLDEST_PYTHON:
        yield Finding("Python", found, "problem", "Python 3.11 or newer is needed")
    else:
        yield Finding("Python", found)


def _cpu(machine: Machine) -> Iterator[Finding]:
    lines = machine.text("proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    model = machine.text("proc/device-tree/model").strip("\0\n ")
    cores = sum(line.startswith("processor") for line in lines) or os.cpu_count() or 1
    yield Finding(
        "CPU", f"{machine.architecture}, {cores} cores, {model or (names[0] if names else 'unknown')}"
    )
    flags: set[str] = set()
    for line in lines:
        if line.partition(":")[0].strip() in ("flags", "Features"):
            flags.update(line.partition(":")[2].split())
    wanted = _ISA.get(machine.architecture, ())
    present = [name for name in wanted if name in flags]
    yield Finding("instructions", ", ".join(present) or "none known", *_isa_advice(machine, flags))
    if machine.page_bytes != 4096:
        advice = "Native libraries need 16 KiB alignment here" if machine.page_bytes == 16384 else None
        yield Finding("memory pages", f"{machine.page_bytes} bytes", "note", advice)


def _isa_advice(machine: Machine, flags: set[str]) -> tuple[State, str | None]:
    if machine.architecture == "aarch64" and flags and "asimdhp" not in flags:
        if (machine.installed("onnxruntime") or "").startswith("1.21."):
            return (
                "problem",
                "onnxruntime 1.21 dies of Illegal instruction on ARMv8.0 cores: install another version",
            )
        return "note", "ARMv8.0 core (Pi 3, Pi 4, Zero 2 W): int8 and fp16 gain less here"
    if machine.architecture == "x86_64" and flags and "avx2" not in flags:
        return "note", "Without AVX2 float networks run several times slower"
    return "ok", None


def _runtimes(machine: Machine) -> Iterator[Finding]:
    found = {name: machine.installed(name) for name in _RUNTIMES}
    if not any(found.values()):
        yield Finding("runtimes", "none", "problem", _which_runtime(machine))
    for name, release in found.items():
        if release is not None:
            yield Finding(name, release, *_runtime_advice(name, release, machine))
    numpy = machine.installed("numpy")
    if numpy is not None:
        yield Finding("numpy", numpy)


def _which_runtime(machine: Machine) -> str:
    if machine.architecture.startswith("armv"):
        return "32-bit ARM has no onnxruntime: pip install tflite-runtime 'numpy<2'"
    return "pip install onnxruntime"


def _runtime_advice(name: str, release: str, machine: Machine) -> tuple[State, str | None]:
    numpy = machine.installed("numpy")
    if name == "tflite-runtime" and numpy is not None and _numbers(numpy) >= (2,):
        return "problem", "tflite-runtime was built for NumPy 1: pip install 'numpy<2', or use ai-edge-litert"
    if name == "onnxruntime" and _numbers(release) < (1, 22):
        return "problem", "onnxruntime 1.22 or newer is needed: older ones cannot compare uint8 level indices"
    if name == "onnxruntime" and _numbers(release) < _SWITCH_CACHE_RUNTIME:
        return "note", "With 1.31.1 or newer, ort-switch maps its weights and needs a fraction of the memory"
    return "ok", None


def _extras(machine: Machine) -> Iterator[Finding]:
    for package, purpose in (("torch", "sparsify, train and export"), ("onnx-ir", "export and build")):
        yield Finding(package, machine.installed(package) or f"not installed; only {purpose} need it")
    from elsa_edge.nested_format.library import library_path

    library = library_path()
    yield Finding("sparse kernels", "compiled" if library else "not compiled; only ort-nested needs them")


def _memory(machine: Machine) -> Iterator[Finding]:
    reading = Probes(root=machine.root).read()
    if reading.available_bytes is None:
        yield Finding("free memory", "unknown", "note", "The controller cannot heed memory here")
    else:
        little = reading.available_bytes < _LITTLE_MEMORY_BYTES
        advice = "Use ort-levels, or free some memory" if little else None
        yield Finding(
            "free memory", f"{reading.available_bytes / _MB:.0f} MB", "note" if little else "ok", advice
        )
    yield Finding("control groups", ", ".join(_groups(machine)) or "none")
    if reading.pressure_percent is None:
        yield Finding("memory pressure", "not told by this kernel (PSI)")
    elif reading.pressure_percent > _HIGH_PRESSURE_PERCENT:
        yield Finding(
            "memory pressure", f"{reading.pressure_percent:g} %", "note", "Something else needs the memory"
        )
    else:
        yield Finding("memory pressure", f"{reading.pressure_percent:g} %")


def _groups(machine: Machine) -> Sequence[str]:
    kinds = []
    if (machine.root / "sys/fs/cgroup/memory/memory.limit_in_bytes").exists():
        kinds.append("v1 memory")
    if (machine.root / "sys/fs/cgroup/cgroup.controllers").exists():
        kinds.append("v2")
    return kinds


def _power(machine: Machine) -> Iterator[Finding]:
    governor = machine.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    if governor in ("powersave", "conservative", "ondemand"):
        yield Finding(
            "CPU governor", governor, "note", "Latency jumps after pauses; measure with `performance`"
        )
    else:
        yield Finding("CPU governor", governor or "not told")
    hottest = Probes(root=machine.root).read().temperature_c
    if hottest is not None:
        hot = hottest >= 80.0
        advice = "The CPU slows down at such temperatures; cool it" if hot else None
        yield Finding("temperature", f"{hottest:.0f} C", "note" if hot else "ok", advice)
