"""Plug-ins: exporters and runtime adapters, ours and those of third parties.

protocols.py   what they implement; its names are those of this package
described.py   a base for loaded variants: what never changes while they are open
timing.py      what an adapter may offer beside: the time of each operator
registry.py    finds them by entry point
installed.py   makes them and holds them to their protocol
chain.py       the segments of a rerouted variant as one loaded variant
guarded.py, guarded_opened.py   check each call and each answer
blame.py       whatever they raise becomes an error that names them
"""

from elsa_edge.plugins.protocols import (
    NO_CACHE,
    Adapter,
    CacheState,
    CacheUse,
    Exporter,
    Forecast,
    Forecaster,
    LayerForecast,
    MemoryUse,
    Opened,
    Preflight,
    check_level,
)
from elsa_edge.plugins.timing import OperatorTime, OperatorTimer

__all__ = [
    "NO_CACHE",
    "Adapter",
    "CacheState",
    "CacheUse",
    "Exporter",
    "Forecast",
    "Forecaster",
    "LayerForecast",
    "MemoryUse",
    "Opened",
    "OperatorTime",
    "OperatorTimer",
    "Preflight",
    "check_level",
]
