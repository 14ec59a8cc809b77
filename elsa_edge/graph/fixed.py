"""One level of a canonical graph as a plain network, by this order of passes:

apply level -> fold BatchNorm -> flush subnormals -> drop dead channels -> fold constants
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.cleaning import fold_constants
from elsa_edge.graph.names import FORMAT_KEY, LADDER_KEY, PROVENANCE_KEY
from elsa_edge.graph.passes.apply_level import ApplyLevel
from elsa_edge.graph.passes.drop_dead_channels import DropDeadChannels
from elsa_edge.graph.passes.flush_subnormals import FlushSubnormals
from elsa_edge.graph.passes.fold_batch_norm import FoldBatchNorm

__all__ = ["CHANNELS_AT_ONCE", "at_level"]

# Channels that the vectors of today's processors take at once. A power of two.
CHANNELS_AT_ONCE: Final = 16


def at_level(
    graph: CanonicalGraph,
    level: int,
    *,
    fold_batch_norm: bool = True,
    drop_dead_channels: bool = True,
    align_channels: int = CHANNELS_AT_ONCE,
    fold: bool = True,
) -> ir.Model:
    """Return one level as a plain network without a level input.

    Args:
        graph: The canonical graph; it is not modified.
        level: Which level.
        fold_batch_norm: Merge BatchNorm into the layers before.
        drop_dead_channels: Remove channels that are exactly zero at this level.
        align_channels: Keep as many of them as a smaller number of channels needs to divide by the powers of two up to
            this one that it divided by before: runtimes are slow where it does not.
        fold: Evaluate masks and products now. Without it they stay nodes on the shared dense weights, for a runtime
            that folds constants at load.

    Raises:
        LevelError: When the ladder has no such level.
    """
    model = graph.copy().model
    ApplyLevel(graph.ladder.check(level))(model)
    if fold:
        _fold(model)  # now, so that the passes below find their numbers at hand
    if fold_batch_norm:
        FoldBatchNorm()(model)
    FlushSubnormals()(model)
    dropped = drop_dead_channels and DropDeadChannels(align_channels)(model).modified
    if fold:
        _fold(model)
    common.RemoveUnusedNodesPass()(model)
    if dropped:
        common.ShapeInferencePass()(model)
    for key in (FORMAT_KEY, LADDER_KEY, PROVENANCE_KEY):
        model.metadata_props.pop(key, None)
    return model


def _fold(model: ir.Model) -> None:
    fold_constants(model, any_size=True)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveUnusedNodesPass()(model)
