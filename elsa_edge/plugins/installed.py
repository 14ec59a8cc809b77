"""The plug-ins that are installed: found by entry point, made, and held to their protocol before anyone uses them."""

from __future__ import annotations

from typing import Any

from elsa_edge.errors import PluginError, first_line
from elsa_edge.plugins.protocols import Adapter, Exporter
from elsa_edge.plugins.registry import ADAPTERS, EXPORTERS, KINDS, find

__all__ = ["find_adapter", "find_exporter"]


def find_exporter(name: str) -> Exporter:
    """Return a new exporter of that name.

    Raises:
        UnknownNameError: When none is registered under that name.
        RuntimeUnavailableError: When what it imports is not installed.
        PluginError: When it fails to load, two packages register one, or it does not satisfy `Exporter`.
    """
    made = _made(EXPORTERS, name)
    if not isinstance(made, Exporter):
        raise _misfit(KINDS[EXPORTERS], name, made, Exporter)
    if made.name != name:
        raise PluginError(
            f"The exporter {name!r} calls itself {made.name!r}",
            expected="the name of its entry point",
            fix="Report it to whoever wrote that package",
        )
    return made


def find_adapter(runtime: str) -> Adapter:
    """Return a new adapter for a runtime; raises as `find_exporter` does."""
    made = _made(ADAPTERS, runtime)
    if not isinstance(made, Adapter):
        raise _misfit(KINDS[ADAPTERS], runtime, made, Adapter)
    return made


def _made(group: str, name: str) -> Any:
    make = find(group, name)
    try:
        return make()
    except Exception as error:
        raise PluginError(
            f"The {KINDS[group]} {name!r} cannot be made ({first_line(error)})",
            expected="a class without constructor arguments",
            fix="Report it to whoever wrote that package",
        ) from error


def _misfit(kind: str, name: str, made: object, protocol: object) -> PluginError:
    wanted = sorted(entry for entry in vars(protocol) if not entry.startswith("_"))
    absent = [entry for entry in wanted if not hasattr(made, entry)]
    return PluginError(
        f"The {kind} {name!r} does not satisfy elsa_edge.plugins.{getattr(protocol, '__name__', '')}",
        found=f"{type(made).__name__} without {', '.join(absent)}",
        fix="Report it to whoever wrote that package",
    )
