"""Choose the active weights of one level: scores, allocation and pattern, around what is frozen.

    M_k = M_(k-1)  with  the best units among the rest,    |M_k| = round(d_k * N)

Every sparsifier, one-shot or in training, alone or inside ELSA, ends in `select`: a frozen weight scores +inf
and counts in the budget, so nesting holds by construction. Ties are won by the lower flat position: results
are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from elsa_edge.errors import LevelError
from elsa_edge.sparsify.allocation import Allocation, Layer, check_budget
from elsa_edge.sparsify.patterns import NofM, Pattern
from elsa_edge.sparsify.prunable import Prunable

if TYPE_CHECKING:
    from torch import Tensor

# Of a level's density: what every weight keeps, whatever its scores.
_LEAST_SHARE: Final = 0.1

__all__ = ["budget_of", "keep_highest", "select"]


def budget_of(weights: Sequence[Prunable], density: float) -> int:
    """Return how many weights are active at a density: round(d * N)."""
    return round(density * sum(weight.size for weight in weights))


def keep_highest(scores: Tensor, count: int) -> Tensor:
    """Return a mask of the `count` highest of flat `scores`; the lower position wins ties. Linear time."""
    import torch

    if count >= scores.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = torch.kthvalue(scores, scores.numel() - count + 1).values
    mask = scores > threshold
    missing = count - int(mask.sum())
    ties = torch.nonzero(scores == threshold).reshape(-1)[:missing]
    mask[ties] = True
    return mask


def _select_in_groups(
    weights: Sequence[Prunable], scores: Mapping[str, Tensor], density: float, pattern: NofM
) -> dict[str, Tensor]:
    import torch

    kept = pattern.kept_at(density)
    masks = {}
    for weight in weights:
        grouped = pattern.groups(weight, scores[weight.name])
        held = int(torch.isinf(grouped).sum(1).max())
        if held > kept:
            raise LevelError(
                f"{weight.name} cannot be {kept}:{pattern.group_size}: sparser levels hold more in a group",
                expected=f"at most {kept}",
                found=held,
            )
        order = torch.argsort(grouped, dim=1, descending=True, stable=True)[:, :kept]
        chosen = torch.zeros_like(grouped, dtype=torch.bool).scatter_(1, order, value=True)
        masks[weight.name] = pattern.from_units(weight, chosen.reshape(-1))
    return masks


def select(
    weights: Sequence[Prunable],
    scores: Mapping[str, Tensor],
    density: float,
    *,
    allocation: Allocation,
    pattern: Pattern,
    frozen: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the mask of each weight at a density, frozen weights included.

    Args:
        weights: The nested weights; all of them fit `pattern`.
        scores: By name, shaped like the weight, finite.
        density: Fraction of active weights over all of them together, in (0, 1].
        allocation: Divides the budget; not used by N:M, where each group has its own.
        pattern: The granularity.
        frozen: Masks that stay active, from sparser levels.

    Returns:
        Boolean masks by name, shaped like the weights. With single weights as units |M| = round(d * N)
        exactly.

    Raises:
        LevelError: When the density cannot be reached.
    """
    import torch

    if density >= 1.0:
        return {w.name: torch.ones(w.shape, dtype=torch.bool, device=scores[w.name].device) for w in weights}
    held = {}
    for weight in weights:
        score = scores[weight.name]
        if not bool(torch.isfinite(score).all()):
            raise LevelError(
                f"The scores of {weight.name} are not finite", fix="Look for NaN in weights or gradients"
            )
        held[weight.name] = score if frozen is None else score.masked_fill(frozen[weight.name], torch.inf)
    if isinstance(pattern, NofM):
        return _select_in_groups(weights, held, density, pattern)
    layers = []
    for weight in weights:
        units = pattern.to_units(weight, held[weight.name])
        layers.append(
            Layer(
                weight.name,
                weight.shape,
                units,
                pattern.unit_sizes(weight),
                frozen_units=int(torch.isinf(units).sum()),
                least_units=int(_LEAST_SHARE * density * len(units)),
            )
        )
    budget = budget_of(weights, density)
    check_budget(layers, budget, density)
    counts = allocation(layers, budget)
    return {
        weight.name: pattern.from_units(weight, keep_highest(layer.scores, count))
        for weight, layer, count in zip(weights, layers, counts, strict=True)
    }
