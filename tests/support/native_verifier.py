"""The C++ client's verifier for this machine, compiled once a process, and ONNX Runtime's library that it loads."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import onnxruntime

from support.bundles import folder

_REPOSITORY = Path(__file__).resolve().parents[2]


def compiler() -> str | None:
    """Return this machine's C++ compiler, if it has one."""
    return shutil.which("c++")


@cache
def program() -> Path:
    """Return the verifier."""
    client = _REPOSITORY / "clients" / "cpp"
    includes = (client / "include", client / "src", _REPOSITORY / "runtime_adapters/kernels/native")
    path = folder() / "elsa-verify"
    sources = [str(client / name) for name in ("src/elsa_edge.cpp", "tool/elsa_verify.cpp")]
    flags = ["-std=c++17", "-O0", *(f"-I{place}" for place in includes)]
    subprocess.run([str(compiler()), *flags, *sources, "-ldl", "-pthread", "-o", str(path)], check=True)
    return path


def runtime() -> Path:
    """Return ONNX Runtime's library, which lies inside the Python package."""
    return next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
