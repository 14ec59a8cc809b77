"""elsa-edge: one network, several nested sparsity levels inside it, one file, every device."""

from __future__ import annotations

import os
from typing import Any

# ONNX Runtime (1.31) looks a host of its maker up and keeps a queue of events on the disk. This switch is read when it
# is imported, and no later call replaces it; an application that imports onnxruntime first sets it itself.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["AdaptiveSession", "Ladder", "Level", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the public names on first use, so that importing a floor does not import the ones above it."""
    if name == "AdaptiveSession":
        from elsa_edge.session import AdaptiveSession

        return AdaptiveSession
    if name in ("Ladder", "Level"):
        from elsa_edge import levels

        return getattr(levels, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
