"""elsa-edge: one network, several nested sparsity levels inside it, one file, every device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from elsa_edge.session import AdaptiveSession

__all__ = ["AdaptiveSession", "__version__"]

__version__: Final = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the session only when it is asked for: `elsa-edge --help` and the training side do without it."""
    if name == "AdaptiveSession":
        from elsa_edge.session import AdaptiveSession

        return AdaptiveSession
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
