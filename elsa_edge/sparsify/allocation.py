"""How many units each weight keeps at a density: all in one pool, the same share each, or Erdos-Renyi-Kernel.

    global    the round(d * N) highest scores over all weights together
    uniform   k_l = d * n_l
    erk       k_l = n_l * min(1, e * r_l),  r_l = sum(shape) / prod(shape),  e such that sum k_l = d * N

Frozen units are kept whatever their score, and count in the budget. Each weight keeps at least one unit and, so that
no layer starves in the global pool, about a tenth of the density that is asked for.
Sources: ERK, arXiv 1911.11134; global magnitude as in AC/DC, arXiv 2106.12379.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from elsa_edge.errors import LevelError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ALLOCATIONS", "Allocation", "Layer", "allocation_named", "erk", "global_pool", "uniform"]


@dataclass(frozen=True, slots=True)
class Layer:
    """What an allocation sees of one weight.

    Attributes:
        name: For messages.
        shape: Of the weight.
        scores: One a unit, float `(units,)`; +inf where frozen.
        sizes: Weights in each unit, int64 `(units,)`.
        frozen_units: How many units are frozen.
        least_units: How many are kept at least.
    """

    name: str
    shape: tuple[int, ...]
    scores: Tensor
    sizes: Tensor
    frozen_units: int = 0
    least_units: int = 1

    @property
    def weights(self) -> int:
        """Weights in all units."""
        return int(self.sizes.sum())


Allocation: TypeAlias = Callable[[Sequence[Layer], int], list[int]]
"""(layers, budget in weights) -> units to keep in each layer, at least its frozen ones and its least."""


def _floor(layer: Layer) -> int:
    return max(1, layer.least_units, layer.frozen_units)


def _round_to_budget(layers: Sequence[Layer], shares: Sequence[float], budget: int) -> list[int]:
    """Turn ideal shares (in weights) into whole units, carrying what rounding leaves to the next layer."""
    counts = []
    carry = 0.0
    for layer, share in zip(layers, shares, strict=True):
        unit = layer.weights / len(layer.sizes)
        count = min(max(round((share + carry) / unit), _floor(layer)), len(layer.sizes))
        carry += share - count * unit
        counts.append(count)
    # Where bounds ate the remainder, the largest layers with room give or take single units.
    order = sorted(range(len(layers)), key=lambda position: -layers[position].weights)
    for position in order:
        layer = layers[position]
        unit = layer.weights / len(layer.sizes)
        missing = budget - sum(
            count * other.weights / len(other.sizes) for count, other in zip(counts, layers, strict=True)
        )
        steps = round(missing / unit)
        counts[position] = min(max(counts[position] + steps, _floor(layer)), len(layer.sizes))
    return counts


def global_pool(layers: Sequence[Layer], budget: int) -> list[int]:
    """Keep the highest scores over all layers together; the best units of each layer, its least, are always kept."""
    sizes = {int(size) for layer in layers for size in (layer.sizes.min(), layer.sizes.max())}
    if len(sizes) == 1:
        return _pool_of_equal_units(layers, budget, sizes.pop())
    return _pool_of_unequal_units(layers, budget)


def _pool_of_equal_units(layers: Sequence[Layer], budget: int, size: int) -> list[int]:
    """Find the score that parts the pool, without ordering it: linear in time, one copy of the scores in memory.

    Units that tie at that score are taken from the first layers on.
    """
    floors = [_floor(layer) for layer in layers]
    pooled, ends = [], []
    for layer, floor in zip(layers, floors, strict=True):
        scores = layer.scores.cpu().numpy()
        rest = len(scores) - floor
        pooled.append(np.partition(scores, rest - 1)[:rest] if rest else scores[:0])
        ends.append(rest)
    pool = np.concatenate(pooled)
    parts = np.split(pool, np.cumsum(ends)[:-1])
    left = budget - sum(floors) * size
    taken = max(0, left) // size
    # One unit more where that comes nearer.
    taken = min(len(pool), taken + int((taken + 1) * size - left < left - taken * size))
    if taken == 0:
        return floors
    threshold = np.partition(pool, len(pool) - taken)[len(pool) - taken]
    higher = [int(np.count_nonzero(part > threshold)) for part in parts]
    missing = taken - sum(higher)
    counts = []
    for part, floor, more in zip(parts, floors, higher, strict=True):
        ties = min(missing, int(np.count_nonzero(part == threshold)))
        missing -= ties
        counts.append(floor + more + ties)
    return counts


def _pool_of_unequal_units(layers: Sequence[Layer], budget: int) -> list[int]:
    """Order the pool, and take units until their sizes fill the budget."""
    import torch

    floors = [_floor(layer) for layer in layers]
    pooled_scores, pooled_sizes, owners = [], [], []
    spent = 0
    for position, (layer, floor) in enumerate(zip(layers, floors, strict=True)):
        order = torch.argsort(layer.scores, descending=True, stable=True)
        spent += int(layer.sizes[order[:floor].cpu()].sum())
        rest = order[floor:]
        pooled_scores.append(layer.scores[rest])
        pooled_sizes.append(layer.sizes[rest.cpu()])
        owners.append(torch.full((len(rest),), position))
    scores, sizes, owner = torch.cat(pooled_scores), torch.cat(pooled_sizes), torch.cat(owners)
    order = torch.argsort(scores, descending=True, stable=True).cpu()
    total = torch.cumsum(sizes[order], 0) + spent
    taken = int((total <= budget).sum())
    if taken < len(order):  # one unit more where that comes nearer
        below = int(total[taken - 1]) if taken else spent
        taken += int(int(total[taken]) - budget < budget - below)
    extra = torch.bincount(owner[order[:taken]], minlength=len(layers))
    return [floor + int(more) for floor, more in zip(floors, extra, strict=True)]


def uniform(layers: Sequence[Layer], budget: int) -> list[int]:
    """Give every layer the same density."""
    density = budget / sum(layer.weights for layer in layers)
    return _round_to_budget(layers, [density * layer.weights for layer in layers], budget)


def erk_densities(shapes: Sequence[Sequence[int]], budget: float) -> list[float]:
    """Return the Erdos-Renyi-Kernel density of each weight so that `budget` weights are active together."""
    sizes, raw = [], []
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        sizes.append(size)
        raw.append(sum(shape) / size)
    dense: set[int] = set()
    while True:
        open_layers = [position for position in range(len(sizes)) if position not in dense]
        left = budget - sum(sizes[position] for position in dense)
        weight = sum(raw[position] * sizes[position] for position in open_layers)
        factor = left / weight if open_layers else 0.0
        too_dense = {p for p in open_layers if factor * raw[p] >= 1.0}
        if not too_dense:
            break
        dense |= {max(too_dense, key=lambda position: raw[position])}
    return [1.0 if position in dense else factor * raw[position] for position in range(len(sizes))]


def erk(layers: Sequence[Layer], budget: int) -> list[int]:
    """Give small layers more, by Erdos-Renyi-Kernel."""
    densities = erk_densities([layer.shape for layer in layers], budget)
    return _round_to_budget(layers, [d * x.weights for d, x in zip(densities, layers, strict=True)], budget)


ALLOCATIONS: Final[dict[str, Allocation]] = {"global": global_pool, "uniform": uniform, "erk": erk}


def allocation_named(name: str) -> Allocation:
    """Return an allocation by its name on the command line.

    Raises:
        UnknownNameError: When there is none of that name.
    """
    if name not in ALLOCATIONS:
        raise UnknownNameError("allocation", name, ALLOCATIONS)
    return ALLOCATIONS[name]


def check_budget(layers: Sequence[Layer], budget: int, density: float) -> None:
    """Refuse a budget that the frozen units, or one unit per layer, already exceed.

    Raises:
        LevelError: Naming what is needed and what is allowed.
    """
    total = sum(layer.weights for layer in layers)
    least, frozen, largest_unit = 0, 0, 0
    for layer in layers:
        unit = layer.weights // len(layer.sizes)
        largest_unit = max(largest_unit, unit)
        frozen += layer.frozen_units * unit
        least += _floor(layer) * unit
    slack = 0 if largest_unit == 1 else largest_unit * len(layers) // 2
    if frozen > budget + slack:
        raise LevelError(
            f"The level with density {density:g} cannot be reached: sparser levels already keep more",
            expected=f"at most {budget} weights",
            found=f"{frozen} frozen weights",
        )
    if least > budget + slack:
        raise LevelError(
            f"The level with density {density:g} cannot be reached: every tensor keeps at least one unit",
            expected=f"at least {least} of {total} weights (sparsity {1 - least / total:.4g} or less)",
            found=f"{budget} weights",
            fix="Choose a lower sparsity or a finer granularity, or exclude small layers",
        )
