"""Every way to choose a level's mask while it trains; each works alone and inside ELSA on the free weights."""

from __future__ import annotations

from typing import Final

from elsa_edge.training.sparsifiers.acdc import ACDC
from elsa_edge.training.sparsifiers.asni import ASNI
from elsa_edge.training.sparsifiers.base import Sparsifier
from elsa_edge.training.sparsifiers.dynamic import SET, RigL
from elsa_edge.training.sparsifiers.gradual import GradualMagnitude
from elsa_edge.training.sparsifiers.halo import HALO
from elsa_edge.training.sparsifiers.oneshot import SNIP, FixedMask, OneShotMagnitude, RandomMask
from elsa_edge.training.sparsifiers.srste import SRSTE

__all__ = [
    "ACDC",
    "ASNI",
    "HALO",
    "SET",
    "SNIP",
    "SPARSIFIERS",
    "SRSTE",
    "FixedMask",
    "GradualMagnitude",
    "OneShotMagnitude",
    "RandomMask",
    "RigL",
    "Sparsifier",
]

SPARSIFIERS: Final[dict[str, type[Sparsifier]]] = {
    kind.name: kind
    for kind in (OneShotMagnitude, GradualMagnitude, ACDC, RigL, SET, SRSTE, RandomMask, SNIP, HALO, ASNI)
}
