"""Nested sparse kernels for ONNX Runtime: where the compiled custom-operator library is, if there is one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["LIBRARY_VARIABLE", "library_path"]

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
