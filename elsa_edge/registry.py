"""Find exporters and runtime adapters by name through entry points, so that third parties can add their own."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Final

from elsa_edge.errors import RuntimeUnavailableError, UnknownNameError

__all__ = ["ADAPTERS", "EXPORTERS", "find", "names"]

EXPORTERS: Final = "elsa_edge.exporters"
ADAPTERS: Final = "elsa_edge.runtime_adapters"
_KINDS: Final = {EXPORTERS: "exporter", ADAPTERS: "runtime adapter"}


def names(group: str) -> list[str]:
    """Return the names registered in an entry-point group, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def find(group: str, name: str) -> Any:
    """Load the object registered as `name`.

    Raises:
        UnknownNameError: When nothing is registered under that name.
        RuntimeUnavailableError: When it is registered but what it imports is not installed.
    """
    for entry in entry_points(group=group, name=name):
        try:
            return entry.load()
        except ImportError as error:
            raise RuntimeUnavailableError(
                f"The {_KINDS[group]} {name!r} cannot be loaded ({error})",
                fix=f"Install what it needs: pip install {error.name}" if error.name else None,
            ) from error
    raise UnknownNameError(_KINDS[group], name, names(group))
