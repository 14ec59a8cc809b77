"""Reroute a running inference to a sparser level: each layer has a level of its own, never denser than the one before.

    level(layer 1) >= level(layer 2) >= ...           in the order of depth

Norm layers and biases follow the level of the nested layer before them. The vector (hi, ..., hi, lo, ..., lo)
is what a controller needs that finds in the middle of an inference that time will not suffice (arXiv
2112.10930).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import LevelError
from elsa_edge.levels import mask_at
from elsa_edge.sparsify.prunable import Prunable

if TYPE_CHECKING:
    from torch import nn

__all__ = ["layer_order", "levels_of_tensors", "rerouted_state", "switch_vectors"]


def layer_order(model: nn.Module, weights: Sequence[Prunable]) -> list[list[str]]:
    """Return the tensors of each step of depth: one nested layer and what follows it, by state_dict names.

    Depth is the order in which modules are registered, which for most networks is the order in which they
    run.
    """
    starts = {weight.module for weight in weights}
    groups: list[list[str]] = [[]]
    owner: str | None = None
    for name in model.state_dict():
        module = name.rpartition(".")[0]
        if module in starts and module != owner and groups[-1]:
            groups.append([])
        owner = module
        groups[-1].append(name)
    return groups


def levels_of_tensors(
    order: Sequence[Sequence[str]], vector: Sequence[int], names: Iterable[str]
) -> dict[str, int]:
    """Return the level of each tensor for one level per step of depth.

    Raises:
        LevelError: When the vector has another length or rises along the depth.
    """
    if len(vector) != len(order):
        raise LevelError("One level a layer is needed", expected=len(order), found=len(vector))
    if any(before < after for before, after in itertools.pairwise(vector)):
        raise LevelError(
            "Levels must not rise along the depth: only a sparser level can follow", found=list(vector)
        )
    placed = {name: level for group, level in zip(order, vector, strict=True) for name in group}
    return {name: placed[name] for name in names}


def switch_vectors(layers: int, dense: int, sparse: int) -> list[list[int]]:
    """Return the vectors that start at level `dense` and go on at `sparse` after 0, 1, ... all layers."""
    return [[dense] * at + [sparse] * (layers - at) for at in range(layers + 1)]


def rerouted_state(
    checkpoint: NestedCheckpoint, order: Sequence[Sequence[str]], vector: Sequence[int]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the plain state_dict of a network whose layers have the levels of `vector`.

    Args:
        checkpoint: Nested levels.
        order: What `layer_order` gives for its network.
        vector: One level a step of depth, not rising.

    Raises:
        LevelError: When the vector does not fit, or names a level that is not in the ladder.
    """
    for level in vector:
        checkpoint.ladder.check(level)
    levels: Mapping[str, int] = levels_of_tensors(order, vector, checkpoint.weights)
    state = dict(checkpoint.weights)
    for name, index in checkpoint.indices.items():
        state[name] = np.where(mask_at(index, levels[name]), state[name], np.float32(0))
    for name, table in checkpoint.tables.items():
        state[name] = table[levels[name]]
    return state
