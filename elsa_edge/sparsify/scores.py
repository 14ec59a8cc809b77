"""How important each weight is: one score per weight, higher is kept first.

magnitude  |w|        random  uniform in [0, 1)        saliency  |w * dL/dw|   (SNIP where taken at the start)

A fourth, `fisher`, needs the whole network and inputs: fisher.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from elsa_edge.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["FISHER", "SCORES", "Score", "magnitude", "random", "saliency", "score_named"]


class Score(Protocol):
    """One way to score. Add a method by writing such a function; see CONTRIBUTING."""

    def __call__(self, weight: Tensor, gradient: Tensor | None, generator: Generator | None) -> Tensor:
        """Score the weights of one layer.

        Args:
            weight: Any shape.
            gradient: dL/dw of the same shape, where the caller has it.
            generator: Source of random numbers on the weight's device.

        Returns:
            float32 or float64 scores of the same shape, finite.
        """


def magnitude(weight: Tensor, gradient: Tensor | None = None, generator: Generator | None = None) -> Tensor:  # noqa: ARG001 - one protocol
    """Score by |w|."""
    return weight.detach().abs().float()


def random(weight: Tensor, gradient: Tensor | None = None, generator: Generator | None = None) -> Tensor:  # noqa: ARG001 - one protocol
    """Score by lot."""
    import torch

    return torch.rand(weight.shape, generator=generator, device=weight.device)


def saliency(weight: Tensor, gradient: Tensor | None = None, generator: Generator | None = None) -> Tensor:  # noqa: ARG001 - one protocol
    """Score by |w * dL/dw|, the first-order change of the loss without the weight (arXiv 1810.02340)."""
    if gradient is None:
        raise UsageError("Saliency needs gradients: a loss and at least one batch")
    return (weight.detach() * gradient).abs().float()


FISHER: Final = "fisher"
SCORES: Final[dict[str, Score]] = {"magnitude": magnitude, "random": random}


def score_named(name: str) -> Score:
    """Return the score that needs weights only, by its name on the command line.

    Raises:
        UnknownNameError: When there is none of that name.
    """
    if name not in SCORES:
        raise UnknownNameError("method", name, [*SCORES, FISHER])
    return SCORES[name]
