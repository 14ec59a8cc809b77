"""Gradual magnitude pruning: sparsity rises fast at first and slowly at the end, pruned stays pruned.

s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (t_1 - t_0))^3          (Zhu and Gupta, arXiv 1710.01878)
"""

from __future__ import annotations

from typing import ClassVar

from elsa_edge.errors import UsageError
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier, check_fraction, check_steps, cubic

__all__ = ["GradualMagnitude"]


class GradualMagnitude(Sparsifier):
    """Prune a little every few steps.

    Args:
        steps: Optimiser steps of the level.
        begin: Fraction of the steps at which pruning begins.
        end: Fraction of the steps at which the target is reached; the mask is fixed from there.
        every: Steps between cuts; None makes about 50 cuts.
        initial_sparsity: Sparsity of the first cut.
    """

    name: ClassVar[str] = "gradual-magnitude"

    def __init__(
        self,
        steps: int,
        *,
        begin: float = 0.0,
        end: float = 0.75,
        every: int | None = None,
        initial_sparsity: float = 0.0,
    ) -> None:
        self.steps = check_steps(steps)
        check_fraction("begin", begin)
        check_fraction("end", end, begin)
        check_fraction("initial_sparsity", initial_sparsity)
        self._first, self._last = round(begin * steps), max(1, round(end * steps))
        self._initial = initial_sparsity
        if every is not None and every < 1:
            raise UsageError("every must be at least 1", found=every)
        self._every = every or max(1, (self._last - self._first) // 50)

    def density_at(self, step: int, target: float) -> float:
        """Return the density that the schedule asks for after `step` steps."""
        span = max(1, self._last - self._first)
        return 1.0 - cubic((step - self._first) / span, 1.0 - target, self._initial)

    def after_step(self, context: Context) -> None:
        """Cut on the grid between first and last step."""
        step = context.step
        due = step == self._last or (step - self._first) % self._every == 0
        if not self._first <= step <= self._last or not due:
            return
        held = sum(int(mask.sum()) for mask in context.frozen.values())
        total = sum(weight.size for weight in context.weights)
        density = max(self.density_at(step, context.density), context.density, held / total)
        scores = {n: s.masked_fill(~context.active[n], -1.0) for n, s in context.magnitudes().items()}
        context.set_active(context.choose(density, scores))
