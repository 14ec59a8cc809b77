"""Training of nested levels inside the user's own loop: ELSA stages, sparsifiers, joint training."""

from __future__ import annotations

from elsa_edge.training.asni_init import CompressedInit
from elsa_edge.training.joint import JointLevels
from elsa_edge.training.nesting import Nesting
from elsa_edge.training.sparsifiers import (
    ACDC,
    ASNI,
    HALO,
    SET,
    SNIP,
    SRSTE,
    FixedMask,
    GradualMagnitude,
    OneShotMagnitude,
    RandomMask,
    RigL,
)
from elsa_edge.training.stages import ElsaStages, elsa_stages

__all__ = [
    "ACDC",
    "ASNI",
    "HALO",
    "SET",
    "SNIP",
    "SRSTE",
    "CompressedInit",
    "ElsaStages",
    "FixedMask",
    "GradualMagnitude",
    "JointLevels",
    "Nesting",
    "OneShotMagnitude",
    "RandomMask",
    "RigL",
    "elsa_stages",
]
