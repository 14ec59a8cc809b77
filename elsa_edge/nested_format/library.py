"""Nested sparse kernels for ONNX Runtime: where the compiled custom-operator library is, if there is one."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

__all__ = ["LIBRARY_VARIABLE", "instruction_set", "library_for", "library_path", "needed_glibc"]

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


def instruction_set(teller: str = "elsa_kernels_isa") -> str | None:
    """Return the instruction set that the library here takes; None where there is no library, or an older one.

    Args:
        teller: Its function that tells: of float32, or `elsa_kernels8_isa`, `elsa_kernels16_isa`.
    """
    library = library_path()
    return None if library is None else _told(library, teller)


@lru_cache(maxsize=8)
def _told(library: Path, teller: str) -> str | None:
    try:
        function = getattr(ctypes.CDLL(str(library)), teller)
    except (OSError, AttributeError):  # another machine's, or an older one
        return None
    function.restype = ctypes.c_char_p
    answer: bytes = function()
    return answer.decode("ascii", "replace")


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
