"""Accurate levels of a checkpoint that is already trained: the dense network teaches each level, without labels.

for each level, sparsest first:   minimise  distance(level(x), dense(x))   over inputs x that need no label
tables    over BatchNorm, LayerNorm and biases of that level; every weight keeps its bits
weights   over the weights that the level adds as well, which are frozen then (arXiv 2312.06872)
"""

from __future__ import annotations

from elsa_edge.repairing.run import repair
from elsa_edge.repairing.settings import RepairEvent, RepairSettings

__all__ = ["RepairEvent", "RepairSettings", "repair"]
