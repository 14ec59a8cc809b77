"""elsa-edge: one network, several nested sparsity levels inside it, one file, every device."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elsa_edge.levels import Ladder as Ladder
    from elsa_edge.levels import Level as Level
    from elsa_edge.repairing import RepairEvent as RepairEvent
    from elsa_edge.repairing import RepairSettings as RepairSettings
    from elsa_edge.repairing import repair as repair
    from elsa_edge.session import AdaptiveSession as AdaptiveSession

# ONNX Runtime (1.31) looks a host of its maker up and keeps a queue of events on the disk. This switch is read when it
# is imported, and no later call replaces it; an application that imports onnxruntime first sets it itself.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "AdaptiveSession",
    "Ladder",
    "Level",
    "RepairEvent",
    "RepairSettings",
    "__version__",
    "repair",
]

_REPAIRING = ("RepairEvent", "RepairSettings", "repair")


def __getattr__(name: str) -> Any:
    """Load the public names on first use, so that importing a floor does not import the ones above it."""
    if name == "AdaptiveSession":
        from elsa_edge.session import AdaptiveSession

        return AdaptiveSession
    if name in ("Ladder", "Level"):
        from elsa_edge import levels

        return getattr(levels, name)
    if name in _REPAIRING:
        from elsa_edge import repairing

        return getattr(repairing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
