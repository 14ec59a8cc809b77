"""Whether inputs can be what the network was trained on, asked before a repair."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import InputError
from elsa_edge.repairing.samples import Arguments
from elsa_edge.sparsify.likeness import Likeness, likeness_of
from elsa_edge.sparsify.norms import batch_norms
from elsa_edge.sparsify.statistics import dense_norms

if TYPE_CHECKING:
    from torch import nn

__all__ = ["likeness", "refuse_unlike", "to"]


def likeness(model: nn.Module, batches: Iterable[Arguments]) -> Likeness | None:
    """Compare what arrives at each BatchNorm with what it has stored; None for a network without BatchNorm."""
    return likeness_of(dense_norms(model, batches)) if batch_norms(model) else None


def to(value: Any, device: Any) -> Any:
    """Move a tensor; leave anything else."""
    return value.to(device) if hasattr(value, "to") else value


def refuse_unlike(found: Likeness | None) -> None:
    """Refuse inputs of another scale or kind.

    Raises:
        InputError: Saying how far off they are.
    """
    if found is None or found.alike:
        return
    raise InputError(
        "The inputs look unlike those that the network was trained on",
        expected="about the means and variances that its BatchNorm layers have stored",
        found=found.sentence,
        fix="Scale the inputs as in training (0..1? mean and standard deviation?), or give --accept-inputs",
    )
