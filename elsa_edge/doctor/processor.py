"""The interpreter, the processor and its instructions, the size of memory pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from elsa_edge.doctor.machine import Finding, Machine, State

__all__ = ["processor", "python"]

_OLDEST_PYTHON: Final = (3, 11)
_USUAL_PAGE_BYTES: Final = 4096
_ISA: Final = {
    "x86_64": ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_tile"),
    "aarch64": ("asimd", "fphp", "asimdhp", "asimddp", "i8mm", "sve"),
    "armv7l": ("neon", "vfpv4"),
}


def python(machine: Machine) -> Iterator[Finding]:
    """Look at the interpreter."""
    found = ".".join(map(str, machine.python))
    if machine.python < _OLDEST_PYTHON:
        yield Finding("Python", found, "problem", "Python 3.11 or newer is needed")
    else:
        yield Finding("Python", found)


def processor(machine: Machine) -> Iterator[Finding]:
    """Look at the processor: board, instructions, pages."""
    lines = machine.text("proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    board = machine.text("proc/device-tree/model").strip("\0\n ")
    name = board or (names[0] if names else "unknown")
    yield Finding("CPU", f"{machine.architecture}, {machine.cores} cores, {name}")
    flags: set[str] = set()
    for line in lines:
        if line.partition(":")[0].strip() in ("flags", "Features"):
            flags.update(line.partition(":")[2].split())
    present = [name for name in _ISA.get(machine.architecture, ()) if name in flags]
    yield Finding("instructions", ", ".join(present) or "none known", *_isa_advice(machine, flags))
    if machine.page_bytes != _USUAL_PAGE_BYTES:
        advice = (
            "Native libraries need 16 KiB alignment here; where a runtime cannot be loaded: kernel=kernel8.img in "
            "config.txt of a Raspberry Pi boots a kernel with 4096-byte pages"
        )
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
