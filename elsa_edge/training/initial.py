"""Where the free weights of a level start from: where they were before the cut, Kaiming, zero, or the first values.

    donor    the last value before the weight was switched off; else of a dense checkpoint; else Kaiming
    kaiming  N(0, 2 / fan_in)          zero  0          rewind  the values before the first step of all

With `zero`, an output channel that is empty at the sparser level gets Kaiming values all the same: its
activation has no variance, and BatchNorm would multiply its gradient by 1 / sqrt(eps), about 316.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from elsa_edge.errors import UnknownNameError
from elsa_edge.sparsify.prunable import Prunable

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["INITS", "Init", "check_init", "free_values"]

Init: TypeAlias = Literal["donor", "kaiming", "zero", "rewind"]
INITS: Final[tuple[Init, ...]] = get_args(Init)


def check_init(name: str) -> str:
    """Return `name` when there is such an initialisation.

    Raises:
        UnknownNameError: Naming the nearest.
    """
    if name not in INITS:
        raise UnknownNameError("initialisation of free weights", name, INITS)
    return name


def _kaiming(weight: Prunable, like: Tensor, generator: Generator) -> Tensor:
    import torch

    rows = weight.rows(like)
    fan_in = max(1, rows[0].numel())
    return torch.randn(weight.shape, generator=generator).to(like) * math.sqrt(2.0 / fan_in)


def free_values(
    init: str,
    weight: Prunable,
    value: Tensor,
    frozen: Tensor,
    *,
    donor: Mapping[str, Tensor],
    first: Mapping[str, Tensor],
    generator: Generator,
) -> Tensor:
    """Return the values that the free positions of one weight start from.

    Args:
        init: One of `INITS`.
        weight: Which weight.
        value: Its values now, with the weights of the sparser level.
        frozen: What the sparser level owns.
        donor: Values of weights before they were switched off, by name.
        first: Values before training, by name.
        generator: Source of Kaiming values.

    Returns:
        A tensor like `value`; only its free positions count.
    """
    import torch

    if init == "rewind":
        return first[weight.name]
    if init == "donor" and weight.name in donor:
        return donor[weight.name]
    fresh = _kaiming(weight, value, generator)
    if init != "zero":
        return fresh
    rows = weight.rows(frozen)
    empty = ~rows.flatten(1).any(1)
    wide = weight.from_rows(empty.reshape(-1, *(1,) * (rows.dim() - 1)).expand(rows.shape).contiguous())
    return torch.where(wide, fresh, torch.zeros_like(fresh))
