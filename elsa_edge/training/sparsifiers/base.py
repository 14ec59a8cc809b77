"""What every sparsifier is: four moments of one level's training, each with a default that does nothing.

`begin` may prune at once, `before_step` sees gradients, `after_step` sees the new weights, `finish` must
leave the level at its target. All act on a `Context`, in which frozen weights are always active, so each
method works alone and inside ELSA. A sparsifier object belongs to one level at a time; `begin` starts it
anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from elsa_edge.errors import UsageError
from elsa_edge.training.context import Context

__all__ = ["Sparsifier", "check_fraction", "check_steps"]


def check_steps(steps: int) -> int:
    """Return `steps` when it is a whole number of at least 1."""
    if steps < 1:
        raise UsageError("A sparsifier needs the number of optimiser steps of a level", found=repr(steps))
    return steps


def check_fraction(name: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """Return `value` when it lies in [low, high]."""
    if not low <= value <= high:
        raise UsageError(f"{name} is out of range", expected=f"{low:g} to {high:g}", found=f"{value:g}")
    return float(value)


class Sparsifier:
    """Base class: prunes to the target by magnitude when the level ends, unless it has arrived before."""

    name: ClassVar[str] = ""

    def begin(self, context: Context) -> None:
        """Start a level: everything may be active, or less from now on."""

    def before_step(self, context: Context) -> None:
        """Look at gradients, or add to them, before the optimiser steps."""

    def after_step(self, context: Context) -> None:
        """Change masks after a step; `context.step` counts it already."""

    def finish(self, context: Context) -> None:
        """Leave the level at its target density."""
        if active_weights(context) != target_weights(context):
            context.set_active(context.choose(context.density))

    def state_dict(self) -> dict[str, Any]:
        """Return what `begin` and the steps have built up."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""


def active_weights(context: Context) -> int:
    """Return how many weights are active now."""
    return sum(int(mask.sum()) for mask in context.active.values())


def target_weights(context: Context) -> int:
    """Return how many weights are to be active when the level ends."""
    return round(context.density * sum(weight.size for weight in context.weights))


def cubic(progress: float, target: float, initial: float = 0.0) -> float:
    """Return the sparsity of gradual pruning:

    s_f + (s_i - s_f) (1 - progress)^3, progress clipped to [0, 1].
    """
    return target + (initial - target) * (1.0 - min(max(progress, 0.0), 1.0)) ** 3


def cosine(progress: float, start: float) -> float:
    """Return start / 2 * (1 + cos(pi * progress))."""
    return start / 2.0 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


Factory = Callable[..., Sparsifier]
