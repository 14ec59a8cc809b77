"""HALO, hierarchical adaptive lasso: every weight has a trainable lambda that learns how much to shrink it.

    L(W, lam) = loss + xi * sum_j |w_j| / lam_j^2 + psi * | sum_j |lam_j| - P |           (arXiv 2008.10183)

Both W and lam go by sub-gradients, lam with its own SGD whose weight decay keeps small weights' lambdas
small: it pulls lam towards (2 xi |w| / decay)^(1/4), so the penalty becomes sqrt(2 xi decay |w|). Nothing is
zero while training; at the end one global magnitude threshold makes the mask, without fine-tuning unless
`end` is below 1.

What the penalty does grows with the sum of the learning rate over the steps. The published strengths are for 125 120
steps (160 epochs of CIFAR) from 0.1 on; over a hundredth of them they do nothing at all. The defaults are therefore

    (xi, psi, weight_decay) = published * 125 120 / steps * 0.1 / learning_rate          and xi * strength
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from elsa_edge.errors import UsageError
from elsa_edge.training.context import Context
from elsa_edge.training.sparsifiers.base import Sparsifier, check_fraction, check_steps

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HALO"]

# 160 epochs of 50 000 images in batches of 64
_PUBLISHED_STEPS: Final = 125_120
_PUBLISHED_RATE: Final = 0.1
_PUBLISHED_PENALTY: Final = 1e-8
_PUBLISHED_DECAY: Final = 1e-4
_SMALLEST: Final = 1e-3  # a weight of exactly zero would drive its lambda to zero, and 0 / 0 is no number


class HALO(Sparsifier):
    """Train with a penalty whose strength each weight learns, then cut globally.

    Args:
        steps: Optimiser steps of the level.
        strength: Multiplies the default of `xi`. The best is about the smallest at which the cut costs nothing: more
            shrinks what stays, less leaves weights that are missed. Small networks need more.
        learning_rate: Highest learning rate of the level, by which the defaults are scaled.
        xi: Strength of the weights' penalty; None for the published one, scaled to the steps.
        psi: Strength of the lambdas' own penalty; None likewise.
        budget: P, the sum that the lambdas are drawn to.
        weight_decay: Of the lambdas; None likewise.
        momentum: Of the lambdas' SGD.
        initial: First value of every lambda.
        end: Fraction of the steps after which the cut is made; 1 leaves no fine-tuning.
        paper_lr_quirk: Drop the lambdas' learning rate twice whenever the weights' is dropped, as the
            original did.
    """

    name: ClassVar[str] = "halo"

    def __init__(
        self,
        steps: int,
        *,
        strength: float = 1.0,
        learning_rate: float = 0.1,
        xi: float | None = None,
        psi: float | None = None,
        budget: float = 0.0,
        weight_decay: float | None = None,
        momentum: float = 0.9,
        initial: float = 1.0,
        end: float = 1.0,
        paper_lr_quirk: bool = False,
    ) -> None:
        self.steps = check_steps(steps)
        if min(strength, learning_rate, initial) <= 0 or any(
            given is not None and given < 0 for given in (xi, psi, weight_decay)
        ):
            raise UsageError(
                "HALO needs xi, psi and weight_decay of at least 0, and a positive strength, learning rate and first "
                "lambda"
            )
        scale = _PUBLISHED_STEPS / steps * _PUBLISHED_RATE / learning_rate
        self.xi = strength * scale * _PUBLISHED_PENALTY if xi is None else xi
        self.psi = scale * _PUBLISHED_PENALTY if psi is None else psi
        self.weight_decay = scale * _PUBLISHED_DECAY if weight_decay is None else weight_decay
        self.budget, self.momentum, self.initial = budget, momentum, initial
        self._cut = max(1, round(check_fraction("end", end) * steps))
        self._quirk = paper_lr_quirk
        self._first_lr: float | None = None
        self._lambda: dict[str, Tensor] = {}
        self._velocity: dict[str, Tensor] = {}

    def begin(self, context: Context) -> None:
        """Give every free weight its lambda."""
        import torch

        self._first_lr = None
        self._lambda = {n: torch.full_like(p.detach(), self.initial) for n, p in context.parameters.items()}
        self._velocity = {n: torch.zeros_like(value) for n, value in self._lambda.items()}

    def _rate(self, context: Context) -> float:
        rate = context.learning_rate()
        if self._first_lr is None:
            self._first_lr = rate
        # One drop of the weights' rate by q counts twice for the lambdas: lr0 * q^2 = lr^2 / lr0.
        return rate * rate / self._first_lr if self._quirk and self._first_lr > 0 else rate

    def before_step(self, context: Context) -> None:
        """Add the penalty's sub-gradient to the weights and step the lambdas."""
        import torch

        if context.step >= self._cut:
            return
        rate = self._rate(context)
        excess = sum(float(value.abs().sum()) for value in self._lambda.values()) - self.budget
        sign = float((excess > 0) - (excess < 0))
        with torch.no_grad():
            for name, parameter in context.parameters.items():
                free = ~context.frozen[name]
                value = self._lambda[name]
                weight = parameter.detach()
                if parameter.grad is not None:
                    parameter.grad.add_(torch.sign(weight) / value.square() * free, alpha=self.xi)
                slope = -2.0 * self.xi * weight.abs() / value**3 + self.psi * sign + self.weight_decay * value
                velocity = self._velocity[name].mul_(self.momentum).add_(slope)
                value.sub_(velocity * free, alpha=rate).clamp_(min=_SMALLEST)

    def after_step(self, context: Context) -> None:
        """Cut when the time has come."""
        if context.step == self._cut and self._cut < self.steps:
            context.set_active(context.choose(context.density))

    def state_dict(self) -> dict[str, Any]:
        """Return lambdas, their momentum and the first learning rate."""
        return {"lambda": dict(self._lambda), "velocity": dict(self._velocity), "first_lr": self._first_lr}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._lambda = {name: value.clone() for name, value in state["lambda"].items()}
        self._velocity = {name: value.clone() for name, value in state["velocity"].items()}
        self._first_lr = state["first_lr"]
