"""ASNI-I: one round of training in which global sparsity follows a sigmoid over the epochs.

    s_e = M * sigmoid((e - T E) / c)          after epoch e = 0 .. E-1; pruned weights never come back

By default M is chosen so that the last epoch meets the level's target exactly. `paper_exact` follows the
author's program instead: M is given, each epoch prunes p = (s_e - s_prev) / (1 - s_prev) of what is alive,
rounded down, and steps with p <= 0.1 % are skipped and lost, so the end lies a little below M. Source: arXiv
2202.09284 and its code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from elsa_edge.errors import UsageError
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier, active_weights, check_fraction, check_steps

__all__ = ["ASNI", "sigmoid_sparsity"]


def sigmoid_sparsity(epoch: float, epochs: int, maximum: float, width: float, midpoint: float = 0.5) -> float:
    """Return M * sigmoid((e - T E) / c), a fraction when M is one, a percentage when M is one."""
    return maximum / (1.0 + math.exp(-(epoch - midpoint * epochs) / width))


class ASNI(Sparsifier):
    """Prune globally after each epoch, along a sigmoid.

    Args:
        epochs: E.
        steps_per_epoch: Optimiser steps an epoch.
        width: c, in epochs; a small one prunes fast around the midpoint and leaves time to train afterwards.
        midpoint: T, fraction of the epochs.
        maximum: M as a fraction, with `paper_exact` only.
        paper_exact: Follow the author's program to the weight.
    """

    name: ClassVar[str] = "asni"

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        *,
        width: float | None = None,
        midpoint: float = 0.5,
        maximum: float | None = None,
        paper_exact: bool = False,
    ) -> None:
        self.epochs = check_steps(epochs)
        self.steps_per_epoch = check_steps(steps_per_epoch)
        self.width = max(0.5, epochs / 20) if width is None else width
        if self.width <= 0:
            raise UsageError("The width of the sigmoid must be positive", found=width)
        self.midpoint = check_fraction("midpoint", midpoint)
        if paper_exact != (maximum is not None):
            raise UsageError(
                "paper_exact and maximum belong together: the paper gives M, otherwise it follows"
            )
        self.maximum = None if maximum is None else check_fraction("maximum", maximum)
        self.paper_exact = paper_exact
        self._previous = 0.0

    def begin(self, context: Context) -> None:  # noqa: ARG002 - one protocol
        """Forget an earlier level."""
        self._previous = 0.0

    def alive_after(self, epoch: int, alive: int) -> int:
        """Return how many weights live after epoch `epoch` of the author's program;

        call once an epoch, in order.
        """
        assert self.maximum is not None
        target = sigmoid_sparsity(epoch, self.epochs, 100.0 * self.maximum, self.width, self.midpoint)
        percentage = 100.0 * (target - self._previous) / (100.0 - self._previous)
        self._previous = target
        return alive - int(percentage / 100.0 * alive) if percentage > 0.1 else alive

    def density_after(self, epoch: int, target: float) -> float:
        """Return the density after epoch `epoch` (from 0) that ends at `target`."""
        last = sigmoid_sparsity(self.epochs - 1, self.epochs, 1.0, self.width, self.midpoint)
        return 1.0 - (1.0 - target) * min(
            1.0, sigmoid_sparsity(epoch, self.epochs, 1.0, self.width, self.midpoint) / last
        )

    def after_step(self, context: Context) -> None:
        """Prune when an epoch ends."""
        if context.step % self.steps_per_epoch:
            return
        epoch = context.step // self.steps_per_epoch - 1
        if epoch >= self.epochs:
            return
        total = sum(weight.size for weight in context.weights)
        held = sum(int(mask.sum()) for mask in context.frozen.values())
        if self.paper_exact:
            density = self.alive_after(epoch, active_weights(context)) / total
        else:
            density = max(self.density_after(epoch, context.density), context.density)
        scores = {n: s.masked_fill(~context.active[n], -1.0) for n, s in context.magnitudes().items()}
        context.set_active(context.choose(max(density, held / total), scores))

    def finish(self, context: Context) -> None:
        """The author's program ends where it ends; ours on the target."""
        if not self.paper_exact:
            super().finish(context)

    def state_dict(self) -> dict[str, Any]:
        """Return the last sparsity of the author's program."""
        return {"previous": self._previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._previous = float(state["previous"])
