"""Nested sparse kernels for ONNX Runtime: where the compiled custom-operator library is, if there is one."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Final

__all__ = ["LIBRARY_VARIABLE", "library_for", "library_path", "needed_glibc"]

LIBRARY_VARIABLE: Final = "ELSA_KERNELS_LIBRARY"
_PLACE: Final = Path(__file__).parents[1] / "runtime_adapters" / "kernels"
_FILE_NAME: Final = "libelsa_nested.so"


def library_path() -> Path | None:
    """Return the path of the compiled library, or None where it was not built.

    `ELSA_KERNELS_LIBRARY` names another file, such as one built with a sanitizer. Without a library the variants made
    of ONNX Runtime's own operators still work; build it with `python -m elsa_edge.runtime_adapters.kernels.build`.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    path = Path(named) if named else _PLACE / _FILE_NAME
    return path if path.is_file() else None


_MACHINES: Final = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}


def library_for(arch: str) -> Path | None:
    """Return the library for devices of another architecture ("aarch64"), or of this one; None where there is none.

    A wheel carries those that a cross compiler made when it was built, as libelsa_nested.ARCH.so.
    """
    if _MACHINES.get(platform.machine()) == arch:
        return library_path()
    path = _PLACE / f"libelsa_nested.{arch}.so"
    return path if path.is_file() else None


def needed_glibc(library: Path) -> tuple[int, int] | None:
    """Return the oldest glibc that a library can be loaded with, such as (2, 18); None where it needs none.

    The build of the kernels asks the same, in a file that imports nothing of ours.
    """
    versions = re.findall(rb"GLIBC_(\d+)\.(\d+)", library.read_bytes())
    return max(((int(major), int(minor)) for major, minor in versions), default=None)
