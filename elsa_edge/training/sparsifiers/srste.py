"""N:M sparsity from scratch with the sparse-refined straight-through estimator.

    forward   W * M(W),  M(W): the N largest of each group of M, chosen anew at each step
    backward  dW = dL/d(W * M) + rate * (1 - M) * W                       (SR-STE, arXiv 2102.04010)

Between steps the network always holds W * M(W), so evaluation sees the sparse network; the dense W is kept
here and comes back for the optimiser's step only. Works with every granularity, N:M being the usual one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from elsa_edge.errors import UsageError
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SRSTE"]


class SRSTE(Sparsifier):
    """Choose N of M anew at each step while all weights keep training.

    Args:
        rate: Decay of the weights that are switched off.
    """

    name: ClassVar[str] = "sr-ste"

    def __init__(self, *, rate: float = 2e-4) -> None:
        if rate < 0:
            raise UsageError("The SR-STE rate cannot be negative", found=rate)
        self.rate = rate
        self._dense: dict[str, Tensor] = {}

    def begin(self, context: Context) -> None:
        """Keep the dense weights and show the sparse ones."""
        context.dense_gradients = True
        self._dense = {name: p.detach().clone() for name, p in context.parameters.items()}
        context.set_active(context.choose(context.density))

    def before_step(self, context: Context) -> None:
        """Bring the dense weights back, with the straight-through gradient."""
        import torch

        with torch.no_grad():
            for name, parameter in context.parameters.items():
                parameter.copy_(self._dense[name])
                if parameter.grad is not None:
                    off = ~context.active[name]
                    parameter.grad.add_(self._dense[name] * off, alpha=self.rate)

    def after_step(self, context: Context) -> None:
        """Choose the mask for the new weights."""
        import torch

        with torch.no_grad():
            for name, parameter in context.parameters.items():
                self._dense[name] = parameter.detach().clone()
            masks = context.choose(context.density, {n: w.abs() for n, w in self._dense.items()})
            for name, mask in masks.items():
                # Not set_active: the optimiser must remember the weights that are off, they train on.
                context.active[name] = mask
                context.parameters[name].masked_fill_(~mask, 0.0)
        context.changed = True

    def finish(self, context: Context) -> None:
        """What is off now is where denser levels start from."""
        context.donor.update(self._dense)
        context.dense_gradients = False

    def state_dict(self) -> dict[str, Any]:
        """Return the dense weights."""
        return {"dense": dict(self._dense)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._dense = {name: value.clone() for name, value in state["dense"].items()}
