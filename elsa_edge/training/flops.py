"""Multiply-adds of each level against the dense network, from one run with hooks on the layers.

    flops_k = sum over layers of uses(W) * active_k(W)
    uses(W) = how often one weight is multiplied with, a sample

Layers that are not nested count as dense. The exporter counts again on the graph; this is for tables while
training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.levels import active_counts
from elsa_edge.sparsify.norms import evaluating
from elsa_edge.sparsify.prunable import Prunable, find_prunable

if TYPE_CHECKING:
    from torch import nn

__all__ = ["flops_fractions", "uses_per_weight"]


def _uses(weight: Prunable, inputs: Any, output: Any) -> float:
    """Return how often each weight of a layer is used a sample, from the shapes of its input and output."""
    first = output[0] if isinstance(output, tuple) else output
    source = inputs[0]
    batch = max(1, int(source.shape[0]))
    if weight.kind == "conv":
        return float(first[0, 0].numel())
    if weight.kind == "conv_transpose":
        return float(source[0, 0].numel())
    if weight.kind == "linear":
        return float(first.numel() / first.shape[-1] / batch)
    return float(source.numel() / source.shape[-1] / batch)  # recurrent, attention: once a time step


def uses_per_weight(model: nn.Module, arguments: tuple[Any, ...]) -> dict[str, float]:
    """Return for each weight that can be nested how often it is used a sample; 0 where its layer does not run."""
    import torch

    weights = find_prunable(model)
    found = dict.fromkeys((weight.name for weight in weights), 0.0)
    modules = dict(model.named_modules())
    handles = []
    for weight in weights:

        def hook(_module: nn.Module, inputs: Any, output: Any, weight: Prunable = weight) -> None:
            if inputs:
                found[weight.name] += _uses(weight, inputs, output)

        handles.append(modules[weight.module].register_forward_hook(hook))
    try:
        with evaluating(model), torch.no_grad():
            model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return found


def flops_fractions(
    model: nn.Module,
    arguments: tuple[Any, ...],
    indices: Mapping[str, np.ndarray[Any, Any]],
    level_count: int,
) -> tuple[float, ...]:
    """Return the fraction of the dense network's multiply-adds that each level needs.

    Args:
        model: The network.
        arguments: Of `forward`, any batch.
        indices: Level indices by weight name.
        level_count: Levels of the ladder.
    """
    uses = uses_per_weight(model, arguments)
    total = np.zeros(level_count)
    dense = 0.0
    for weight in find_prunable(model):
        index = indices.get(weight.name)
        active = np.full(level_count, weight.size) if index is None else active_counts(index, level_count)
        total += uses[weight.name] * active
        dense += uses[weight.name] * weight.size
    return tuple(float(value / dense) for value in total) if dense else (1.0,) * level_count
