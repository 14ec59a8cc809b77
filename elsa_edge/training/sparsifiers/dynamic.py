"""Sparse from the first step to the last, with connections that move: RigL and SET.

    every dT steps until T_end:  k = f(t) * (active, not frozen) in each layer,  f(t) = alpha / 2 * (1 +
    cos(pi t / T_end)) drop the k smallest |w|, then grow the k largest |dL/dw| (RigL, arXiv 1911.11134) or k
    by lot (SET, arXiv 1707.04780)

New connections start at zero. A layer keeps its number of active weights. With blocks or channels, units
move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from elsa_edge.errors import UsageError
from elsa_edge.sparsify.patterns import NofM
from elsa_edge.sparsify.prunable import Prunable
from elsa_edge.sparsify.scores import random
from elsa_edge.sparsify.selection import keep_highest
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier, check_fraction, check_steps, cosine

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SET", "RigL"]


class RigL(Sparsifier):
    """Grow where the gradient is largest.

    Args:
        steps: Optimiser steps of the level.
        every: Steps between moves.
        fraction: Share of a layer's own active weights that moves at first.
        until: Fraction of the steps after which nothing moves.
    """

    name: ClassVar[str] = "rigl"
    by_lot: ClassVar[bool] = False

    def __init__(self, steps: int, *, every: int = 100, fraction: float = 0.3, until: float = 0.75) -> None:
        self.steps = check_steps(steps)
        self.every = check_steps(every)
        self.fraction = check_fraction("fraction", fraction)
        self._last = round(check_fraction("until", until) * steps)

    def _due(self, step: int) -> bool:
        return step % self.every == 0 and 0 < step <= self._last

    def begin(self, context: Context) -> None:
        """Draw the first connections by lot, with the allocation of the level."""
        if isinstance(context.pattern, NofM):
            raise UsageError("RigL and SET move single weights, blocks or channels, not N of M")
        scores = {
            w.name: random(context.parameters[w.name].detach().cpu(), None, context.generator).to(
                context.parameters[w.name].device
            )
            for w in context.weights
        }
        context.set_active(context.choose(context.density, scores))
        context.wants_gradients = not self.by_lot and self._due(1)

    def after_step(self, context: Context) -> None:
        """Move connections when due; ask for gradients one step ahead."""
        if self._due(context.step):
            gradients = context.take_gradients()
            masks = {}
            for weight in context.weights:
                gradient = gradients.get(weight.name)
                masks[weight.name] = self._move(context, weight, gradient)
            context.set_active(masks)
        context.wants_gradients = not self.by_lot and self._due(context.step + 1)

    def _move(self, context: Context, weight: Prunable, gradient: Tensor | None) -> Tensor:
        import torch

        name, pattern = weight.name, context.pattern
        parameter = context.parameters[name].detach()
        active = pattern.to_units(weight, context.active[name].float()) > 0
        frozen = pattern.to_units(weight, context.frozen[name].float()) > 0
        movable = active & ~frozen
        moving = int(cosine(context.step / max(1, self._last), self.fraction) * int(movable.sum()))
        moving = min(moving, int((~active).sum()))
        if moving == 0 or (gradient is None and not self.by_lot):
            return context.active[name]
        magnitude = pattern.to_units(weight, parameter.abs())
        dropped = keep_highest((-magnitude).masked_fill(~movable, -torch.inf), moving)
        kept = active & ~dropped
        if self.by_lot:
            drawn = random(parameter.cpu(), None, context.generator).to(parameter.device)
            appeal = pattern.to_units(weight, drawn)
        else:
            assert gradient is not None
            appeal = pattern.to_units(weight, gradient.abs().float())
        grown = keep_highest(appeal.masked_fill(kept, -torch.inf), moving)
        return pattern.from_units(weight, kept | grown)


class SET(RigL):
    """Grow by lot; the arguments are RigL's."""

    name: ClassVar[str] = "set"
    by_lot: ClassVar[bool] = True
