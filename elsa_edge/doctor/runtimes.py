"""The runtimes: which there are, whether they fit each other, and whether this processor can execute them at all."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Final

from elsa_edge.doctor.machine import Finding, Machine, Start, State

__all__ = ["extras", "runtimes"]

# Package -> the module whose import executes its native code.
_RUNTIMES: Final = {
    "onnxruntime": "onnxruntime",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
_SWITCH_CACHE_RUNTIME: Final = (1, 31, 1)
_NEWEST_NUMPY_OF_TFLITE: Final = (2,)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in text.split(".")[:3])


def runtimes(machine: Machine) -> Iterator[Finding]:
    """Look at runtimes and NumPy; each that is there is imported in a process of its own."""
    found = {name: machine.installed(name) for name in _RUNTIMES}
    if not any(found.values()):
        yield Finding("runtimes", "none", "problem", _which_runtime(machine))
    for name, module in {"numpy": "numpy", **_RUNTIMES}.items():
        release = machine.installed(name)
        if release is None:
            continue
        state, advice = _known(name, release, machine)
        if state != "problem":
            state, advice = _started(name, release, machine.start(module)) or (state, advice)
        yield Finding(name, release, state, advice)


def _which_runtime(machine: Machine) -> str:
    if machine.architecture.startswith("armv"):
        return "32-bit ARM has no onnxruntime: pip install tflite-runtime 'numpy<2'"
    return "pip install onnxruntime"


def _known(name: str, release: str, machine: Machine) -> tuple[State, str | None]:
    """Say what is known of a release without executing it."""
    numpy = machine.installed("numpy")
    if name == "tflite-runtime" and numpy is not None and _numbers(numpy) >= _NEWEST_NUMPY_OF_TFLITE:
        return "problem", "tflite-runtime was built for NumPy 1: pip install 'numpy<2', or use ai-edge-litert"
    if name == "onnxruntime" and _numbers(release) < (1, 22):
        return "problem", "onnxruntime 1.22 or newer is needed: older ones cannot compare uint8 level indices"
    if name == "onnxruntime" and _numbers(release) < _SWITCH_CACHE_RUNTIME:
        return "note", "With 1.31.1 or newer, ort-switch maps its weights and needs a fraction of the memory"
    return "ok", None


def _started(name: str, release: str, start: Start) -> tuple[State, str] | None:
    """Say what the import of a package came to; None when it went well."""
    if start.status == 0:
        return None
    if start.status == -signal.SIGILL:
        remedy = " (or OPENBLAS_CORETYPE=ARMV8 in the environment)" if name == "numpy" else ""
        return "problem", (
            f"Its import dies of Illegal instruction: this wheel was compiled for newer processors. Install another "
            f"release: pip install '{name}!={release}'{remedy}"
        )
    if start.status < 0:
        return "problem", (
            f"Its import dies of signal {-start.status}: install it again, or another release: pip install "
            f"--force-reinstall '{name}'"
        )
    if "page-aligned" in start.said or "alignment" in start.said:
        return "problem", (
            "It cannot be loaded with memory pages of this size: take a newer release, or boot a kernel with "
            "4096-byte pages (Raspberry Pi: kernel=kernel8.img)"
        )
    return "problem", f"It cannot be imported ({start.said[:200]}): pip install --force-reinstall '{name}'"


def extras(machine: Machine) -> Iterator[Finding]:
    """Look at what only some verbs need, and at our kernels."""
    for package, purpose in (("torch", "sparsify, train and export"), ("onnx-ir", "export and build")):
        yield Finding(package, machine.installed(package) or f"not installed; only {purpose} need it")
    from elsa_edge.nested_format.library import library_path

    if library_path() is not None:
        yield Finding("sparse kernels", "compiled")
        return
    yield Finding(
        "sparse kernels",
        "not compiled",
        "note",
        "ort-nested and the nested 8-bit variants cannot run; other variants take the dense network's time at every "
        "level. With a C++17 compiler: python -m elsa_edge.runtime_adapters.kernels.build",
    )
