"""Will it be fast here? Asked before anything is trained or built.

sources.py   a checkpoint, an architecture, an ONNX file or a canonical graph -> a graph with levels
examine.py   every exporter is asked about it
advice.py    what to change, in sentences
beside.py    what was expected beside what a profile has measured
"""

from elsa_edge.preflight.beside import Beside, beside
from elsa_edge.preflight.examine import examine
from elsa_edge.preflight.facts import LayerWork, LevelBound, Preflight, VariantVerdict
from elsa_edge.preflight.sources import Network, graph_of

__all__ = [
    "Beside",
    "LayerWork",
    "LevelBound",
    "Network",
    "Preflight",
    "VariantVerdict",
    "beside",
    "examine",
    "graph_of",
]
