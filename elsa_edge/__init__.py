"""elsa-edge: one network, several nested sparsity levels inside it, one file, every device."""

from __future__ import annotations

from typing import Any

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
