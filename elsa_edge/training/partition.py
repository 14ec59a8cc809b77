"""Which tensors of a network are nested, which differ by level, and which are frozen after the sparsest level.

    nested     weights with a level index: level k owns the positions that it adds
    per level  norm layers and biases (default), and whatever the user names: one row per level
    shared     everything else: trained with the sparsest level, frozen afterwards

A denser level changes the statistics of every activation, so norm layers that all levels shared would break
the levels that are frozen already. A table costs four numbers a channel and level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from elsa_edge.errors import UnknownNameError, UsageError
from elsa_edge.sparsify.oneshot import nested_weights
from elsa_edge.sparsify.patterns import Pattern
from elsa_edge.sparsify.prunable import Prunable, find_prunable

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["NORM_POLICIES", "NormPolicy", "Partition", "float_buffers", "norm_parameters", "partition"]

NormPolicy: TypeAlias = Literal["per_level", "frozen_shared", "recalibrate"]
NORM_POLICIES: Final[tuple[NormPolicy, ...]] = get_args(NormPolicy)


@dataclass(frozen=True, slots=True)
class Partition:
    """The tensors of one network, by how levels treat them.

    Attributes:
        nested: Weights with level indices.
        per_level: Names of parameters with one row per level.
        shared: Names of parameters that are frozen after the sparsest level.
        freeze_statistics: Whether BatchNorm keeps the sparsest level's running statistics.
        notes: What stays dense against expectation, and why.
    """

    nested: tuple[Prunable, ...]
    per_level: tuple[str, ...]
    shared: tuple[str, ...]
    freeze_statistics: bool
    notes: tuple[str, ...]


def norm_parameters(model: nn.Module) -> set[int]:
    """Return the ids of the parameters of norm layers."""
    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase

    kinds = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    return {
        id(p)
        for module in model.modules()
        if isinstance(module, kinds)
        for p in module.parameters(recurse=False)
    }


def float_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers of floating point that the state_dict holds, such as running statistics."""
    stored = set(model.state_dict())
    return {n: b for n, b in model.named_buffers() if n in stored and b.is_floating_point()}


def partition(
    model: nn.Module,
    pattern: Pattern,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    norms: str = "per_level",
    per_level: Sequence[str] = (),
    per_level_head: bool = False,
) -> Partition:
    """Sort the tensors of `model`.

    Args:
        model: The network.
        pattern: Granularity; weights that do not fit it are shared.
        include: Patterns of weights to nest; empty takes all that can be.
        exclude: Patterns of weights not to nest.
        norms: `per_level`, `frozen_shared` (norms and biases stay those of the sparsest level) or
            `recalibrate` (like `frozen_shared`, but each level has its own running statistics).
        per_level: Patterns of further parameters that get one row per level instead of being nested or shared.
        per_level_head: Give the last layer that can be nested one row per level.

    Raises:
        UsageError: When a name or pattern fits nothing, or nothing is left to nest.
    """
    if norms not in NORM_POLICIES:
        raise UnknownNameError("norm policy", norms, NORM_POLICIES)
    names = [name for name, _ in model.named_parameters()]
    patterns = list(per_level)
    if per_level_head:
        patterns.append(find_prunable(model)[-1].name)
    for wanted in patterns:
        if not any(fnmatchcase(name, wanted) for name in names):
            raise UsageError(f"The per-level pattern {wanted!r} matches no parameter", allowed=names[:12])
    named = {name for name in names if any(fnmatchcase(name, wanted) for wanted in patterns)}
    hidden = [name for name in named if any(weight.name == name for weight in find_prunable(model))]
    nested, notes = nested_weights(model, pattern, include, [*exclude, *hidden])
    index_names = {weight.name for weight in nested}
    norm_ids = norm_parameters(model)
    rows: list[str] = []
    shared: list[str] = []
    for name, parameter in model.named_parameters():
        if name in index_names:
            continue
        light = parameter.dim() <= 1 or id(parameter) in norm_ids
        (rows if name in named or (light and norms == "per_level") else shared).append(name)
    return Partition(tuple(nested), tuple(rows), tuple(shared), norms == "frozen_shared", tuple(notes))
