"""Prune once: by magnitude or by lot at a chosen step, by SNIP on the first gradients, or to masks that are given.

SNIP   score = |w * dL/dw| at the start, summed over the first `batches` batches       (arXiv 1810.02340)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from elsa_edge.errors import UsageError
from elsa_edge.sparsify.scores import random, saliency
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SNIP", "FixedMask", "OneShotMagnitude", "RandomMask"]


class OneShotMagnitude(Sparsifier):
    """Prune to the target by magnitude in one shot, then train with the mask fixed.

    Args:
        at_step: Optimiser steps of dense training before the cut; 0 cuts at once, for weights trained
            already.
    """

    name: ClassVar[str] = "magnitude"

    def __init__(self, at_step: int = 0) -> None:
        if at_step < 0:
            raise UsageError("at_step cannot be negative", found=at_step)
        self.at_step = at_step

    def begin(self, context: Context) -> None:
        """Cut at once when no dense training is wanted."""
        if self.at_step == 0:
            context.set_active(context.choose(context.density))

    def after_step(self, context: Context) -> None:
        """Cut when the time has come."""
        if context.step == self.at_step:
            context.set_active(context.choose(context.density))


class RandomMask(Sparsifier):
    """Choose the mask by lot before training."""

    name: ClassVar[str] = "random"

    def begin(self, context: Context) -> None:
        """Draw scores."""
        scores = {
            weight.name: random(context.parameters[weight.name].detach().cpu(), None, context.generator).to(
                context.parameters[weight.name].device
            )
            for weight in context.weights
        }
        context.set_active(context.choose(context.density, scores))


class SNIP(Sparsifier):
    """Keep the weights whose loss the first gradients say matters; nothing is updated until then.

    Args:
        batches: Optimiser steps whose gradients are summed; the weights stand still meanwhile.
    """

    name: ClassVar[str] = "snip"

    def __init__(self, batches: int = 1) -> None:
        if batches < 1:
            raise UsageError("SNIP needs at least one batch", found=batches)
        self.batches = batches
        self._seen = 0

    def begin(self, context: Context) -> None:
        """Ask for the gradients of all weights."""
        self._seen = 0
        context.wants_gradients = True

    def before_step(self, context: Context) -> None:
        """Collect; with the last batch choose the mask, and let this step go ahead on it."""
        if not context.wants_gradients:
            return
        self._seen += 1
        if self._seen < self.batches:
            for group in context.optimizers[0].param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
            return
        gradients = context.take_gradients()
        context.wants_gradients = False
        missing = [name for name in context.parameters if name not in gradients]
        if missing:
            raise UsageError("SNIP saw no gradient of a weight", found=", ".join(missing[:5]))
        scores = {
            name: saliency(parameter, gradients[name], None) for name, parameter in context.parameters.items()
        }
        masks = context.choose(context.density, scores)
        context.set_active(masks)
        for name, parameter in context.parameters.items():
            if parameter.grad is not None:
                parameter.grad.masked_fill_(~masks[name], 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches seen."""
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._seen = int(state["seen"])


class FixedMask(Sparsifier):
    """Train with masks that are given, such as those of another run.

    Args:
        masks: Boolean tensor of each nested weight.
    """

    name: ClassVar[str] = "fixed"

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        self.masks = {name: mask.bool() for name, mask in masks.items()}

    def begin(self, context: Context) -> None:
        """Apply the masks, with what is frozen.

        Raises:
            UsageError: When a weight has no mask or one of another shape.
        """
        for name, parameter in context.parameters.items():
            if name not in self.masks or self.masks[name].shape != parameter.shape:
                raise UsageError(f"The fixed masks do not fit: {name} has none of its shape")
        context.set_active(
            {name: self.masks[name].to(mask.device) | mask for name, mask in context.frozen.items()}
        )

    def finish(self, context: Context) -> None:
        """The masks are what they are."""
