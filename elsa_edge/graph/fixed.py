"""One level of a canonical graph as a plain network, by the pass order of design.md:

apply level -> fold BatchNorm -> flush subnormals -> drop dead channels -> fold constants
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.cleaning import fold_constants
from elsa_edge.graph.names import FORMAT_KEY, LADDER_KEY, PROVENANCE_KEY
from elsa_edge.graph.passes.apply_level import ApplyLevel
from elsa_edge.graph.passes.drop_dead_channels import DropDeadChannels
from elsa_edge.graph.passes.flush_subnormals import FlushSubnormals
from elsa_edge.graph.passes.fold_batch_norm import FoldBatchNorm

__all__ = ["at_level", "level_passes"]


def level_passes(
    level: int, *, fold_batch_norm: bool = True, drop_dead_channels: bool = True
) -> list[ir.passes.InPlacePass]:
    """Return the passes for one level, in order, without the final constant folding."""
    passes: list[ir.passes.InPlacePass] = [ApplyLevel(level)]
    if fold_batch_norm:
        passes.append(FoldBatchNorm())
    passes.append(FlushSubnormals())
    if drop_dead_channels:
        passes.append(DropDeadChannels())
    return passes


def at_level(
    graph: CanonicalGraph,
    level: int,
    *,
    fold_batch_norm: bool = True,
    drop_dead_channels: bool = True,
    fold: bool = True,
) -> ir.Model:
    """Return one level as a plain network without a level input.

    Args:
        graph: The canonical graph; it is not modified.
        level: Which level.
        fold_batch_norm: Merge BatchNorm into the layers before.
        drop_dead_channels: Remove channels that are exactly zero at this level.
        fold: Evaluate masks and products now. Without it they stay nodes on the shared dense weights, for a runtime
            that folds constants at load.

    Raises:
        LevelError: When the ladder has no such level.
    """
    model = graph.copy().model
    for rewrite in level_passes(
        graph.ladder.check(level), fold_batch_norm=fold_batch_norm, drop_dead_channels=drop_dead_channels
    ):
        rewrite(model)
    for key in (FORMAT_KEY, LADDER_KEY, PROVENANCE_KEY):
        model.metadata_props.pop(key, None)
    if fold:
        fold_constants(model, any_size=True)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveUnusedNodesPass()(model)
    return model
