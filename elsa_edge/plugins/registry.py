"""Find exporters and runtime adapters by name through entry points, so that third parties can add their own."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from elsa_edge.errors import PluginError, RuntimeUnavailableError, UnknownNameError, first_line
from elsa_edge.extras import how_to_install

__all__ = ["ADAPTERS", "EXPORTERS", "KINDS", "find", "names"]

EXPORTERS: Final = "elsa_edge.exporters"
ADAPTERS: Final = "elsa_edge.runtime_adapters"
KINDS: Final = {EXPORTERS: "exporter", ADAPTERS: "runtime adapter"}
_OURS: Final = "elsa-edge"


@lru_cache(maxsize=8)
def _registered(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:  # noqa: ARG001 - the key
    """Return the entry points of a group: reading every package's takes longer than opening a small network.

    A package that is installed later is seen by the next process, or when the search path changes.
    """
    return tuple(entry_points(group=group))


def _entries(group: str) -> tuple[EntryPoint, ...]:
    return _registered(group, tuple(sys.path))


def names(group: str) -> list[str]:
    """Return the names registered in an entry-point group, sorted."""
    return sorted({entry.name for entry in _entries(group)})


def find(group: str, name: str) -> Any:
    """Load the object registered as `name`.

    Raises:
        UnknownNameError: When nothing is registered under that name.
        RuntimeUnavailableError: When it is registered but what it imports is not installed.
        PluginError: When two packages register that name, or its module fails in another way.
    """
    entries = {entry.value: entry for entry in _entries(group) if entry.name == name}
    if not entries:
        raise UnknownNameError(KINDS[group], name, names(group))
    if len(entries) > 1:
        raise PluginError(
            f"Two packages register the {KINDS[group]} {name!r}",
            found=" and ".join(f"{entry.value} of {_package(entry)}" for entry in entries.values()),
            fix="Remove one of them",
        )
    (entry,) = entries.values()
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            f"The {KINDS[group]} {name!r} cannot be loaded ({first_line(error)})", fix=_fix(entry, error.name)
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module that calls sys.exit() must not end the command
        said, kind = first_line(error), type(error).__name__
        raise PluginError(
            f"The {KINDS[group]} {name!r} cannot be loaded: {entry.value} fails with "
            f"{kind if said == kind else f'{kind} ({said})'}",
            fix=f"Install {_package(entry)} again, or remove it",
        ) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "a package without a name"


def _fix(entry: EntryPoint, module: str | None) -> str:
    if entry.dist is None or entry.dist.name == _OURS:
        return how_to_install(module)
    return f"Install what {_package(entry)} needs, or remove it"
