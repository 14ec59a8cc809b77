"""The plug-ins that are installed: found by entry point, made, and held to their protocol before anyone uses them."""

from __future__ import annotations

from typing import Any

from elsa_edge.errors import ElsaError, PluginError, first_line
from elsa_edge.plugins.blame import REPORT, blamed
from elsa_edge.plugins.guarded import GuardedAdapter, GuardedExporter
from elsa_edge.plugins.protocols import Adapter, Exporter
from elsa_edge.plugins.registry import ADAPTERS, EXPORTERS, KINDS, find

__all__ = ["find_adapter", "find_exporter"]


def find_exporter(name: str) -> GuardedExporter:
    """Return a new exporter of that name, whose calls and answers are checked.

    Raises:
        UnknownNameError: When none is registered under that name.
        RuntimeUnavailableError: When what it imports is not installed.
        PluginError: When it fails to load, two packages register one, or it does not satisfy `Exporter`.
    """
    made = _made(EXPORTERS, name)
    if not _satisfies(made, Exporter, EXPORTERS, name):
        raise _misfit(KINDS[EXPORTERS], name, made, Exporter)
    return GuardedExporter(name, made)


def find_adapter(runtime: str) -> GuardedAdapter:
    """Return a new adapter for a runtime; checked and raising as `find_exporter` does."""
    made = _made(ADAPTERS, runtime)
    if not _satisfies(made, Adapter, ADAPTERS, runtime):
        raise _misfit(KINDS[ADAPTERS], runtime, made, Adapter)
    return GuardedAdapter(runtime, made)


def _made(group: str, name: str) -> Any:
    make = find(group, name)
    who = f"The {KINDS[group]} {name!r}"
    try:
        with blamed(who, "its constructor"):
            return make()
    except ElsaError as error:
        cause = error.__cause__
        if isinstance(cause, TypeError):
            raise PluginError(
                f"{who} cannot be made ({first_line(cause)})",
                expected="a class without constructor arguments",
                fix=REPORT,
            ) from cause
        raise


def _satisfies(made: object, protocol: type, group: str, name: str) -> bool:
    """Tell whether an object has what a protocol lists; asking may run code of theirs."""
    with blamed(f"The {KINDS[group]} {name!r}", "its attributes"):
        return isinstance(made, protocol)


def _misfit(kind: str, name: str, made: object, protocol: object) -> PluginError:
    wanted = sorted(entry for entry in vars(protocol) if not entry.startswith("_"))
    absent = [entry for entry in wanted if not hasattr(made, entry)]
    return PluginError(
        f"The {kind} {name!r} does not satisfy elsa_edge.plugins.{getattr(protocol, '__name__', '')}",
        found=f"{type(made).__name__} without {', '.join(absent)}",
        fix=REPORT,
    )
