"""Put trained levels together: masks to level indices, rows that differ to tables, everything into a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.levels import Ladder, index_from_masks
from elsa_edge.sparsify.oneshot import arrays_of, with_aliases
from elsa_edge.training.partition import Partition

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["assemble"]


def assemble(
    model: nn.Module,
    ladder: Ladder,
    parts: Partition,
    *,
    masks: Sequence[Mapping[str, Tensor]],
    rows: Sequence[Mapping[str, Tensor]],
    owned: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    accuracies: Sequence[float] | None = None,
    flops_fractions: Sequence[float] | None = None,
) -> NestedCheckpoint:
    """Return the nested checkpoint of a trained network.

    Args:
        model: The network.
        ladder: Its levels.
        parts: Which tensors are nested.
        masks: Boolean masks by name, one mapping per level, sparsest first.
        rows: Tensors that may differ by level, one mapping per level; those that are the same in all need no table.
        owned: Dense values of the nested weights.
        facts: How it was made.
        accuracies: One a level, where measured.
        flops_fractions: One a level, where measured.
    """
    indices = {
        w.name: index_from_masks([level[w.name].cpu().numpy() for level in masks]) for w in parts.nested
    }
    weights = arrays_of(model)
    for weight in parts.nested:
        value = owned[weight.name].detach().float().cpu().numpy().copy()
        for name in (weight.name, *weight.aliases):
            weights[name] = value
    tables = {}
    for name in rows[-1]:
        table = np.stack([row[name].detach().float().cpu().numpy() for row in rows])
        weights[name] = table[-1].copy()
        if any(not np.array_equal(row, table[-1]) for row in table):
            tables[name] = table
    nested = with_aliases(parts.nested, indices)
    densities = NestedCheckpoint(weights, nested, tables, ladder).densities
    measured = ladder.measured(densities=densities, accuracies=accuracies, flops_fractions=flops_fractions)
    return NestedCheckpoint(weights, nested, tables, measured, {**facts, "notes": list(parts.notes)})
