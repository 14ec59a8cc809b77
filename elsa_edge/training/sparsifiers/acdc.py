"""Alternating compressed and decompressed training: prune in one shot, train, restore all weights, train, again.

Source: AC/DC, arXiv 2106.12379. Weights come back at zero; the optimiser forgets them; the last phase is
sparse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from elsa_edge.errors import UsageError
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier, check_steps

__all__ = ["ACDC"]

# The paper's ImageNet schedule of 100 epochs, as fractions.
_PRUNE: Final = (0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.85)
_RESTORE: Final = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75)


class ACDC(Sparsifier):
    """Alternate sparse and dense phases.

    Args:
        steps: Optimiser steps of the level.
        prune_at: Fractions of the steps at which to prune to the target.
        restore_at: Fractions at which all weights become active again, one between each two of `prune_at`.
    """

    name: ClassVar[str] = "acdc"

    def __init__(
        self, steps: int, *, prune_at: Sequence[float] = _PRUNE, restore_at: Sequence[float] = _RESTORE
    ) -> None:
        self.steps = check_steps(steps)
        merged = [t for pair in zip(prune_at, restore_at, strict=False) for t in pair] + [prune_at[-1]]
        fits = len(restore_at) == len(prune_at) - 1 and merged == sorted(set(merged)) and merged[-1] < 1.0
        if not fits or merged[0] < 0.0:
            raise UsageError(
                "AC/DC phases must alternate, begin and end with a prune, and lie in [0, 1)",
                found=f"prune {list(prune_at)}, restore {list(restore_at)}",
            )
        self._prune = {max(1, round(t * steps)) for t in prune_at}
        self._restore = {max(1, round(t * steps)) for t in restore_at} - self._prune

    def after_step(self, context: Context) -> None:
        """Change phase when the time has come."""
        import torch

        if context.step in self._restore:
            context.set_active({n: torch.ones_like(m) for n, m in context.active.items()})
        elif context.step in self._prune:
            context.set_active(context.choose(context.density))
