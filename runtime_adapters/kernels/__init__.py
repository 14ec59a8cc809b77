"""Nested sparse kernels for ONNX Runtime: where the compiled custom-operator library is, if there is one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["DOMAIN", "LIBRARY_VARIABLE", "library_path"]

DOMAIN: Final = "elsa.nested"
LIBRARY_VARIABLE: Final = "ELSA_KERNELS_LIBRARY"
_FILE_NAME: Final = "libelsa_nested.so"


def library_path() -> Path | None:
    """Return the path of the compiled library, or None where it was not built.

    `ELSA_KERNELS_LIBRARY` names another file, such as one built with a sanitizer. Without a library the variants made
    of ONNX Runtime's own operators still work; build it with `python -m runtime_adapters.kernels.build`.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    path = Path(named) if named else Path(__file__).with_name(_FILE_NAME)
    return path if path.is_file() else None
