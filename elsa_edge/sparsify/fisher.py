"""What the outputs lose without a weight, by the diagonal of the Fisher information; needs inputs, no labels.

    score = w^2 * mean over batches of (d log p(y | x) / dw)^2,     y drawn from what the network says itself
    outputs that are not classes:  y replaced by outputs times random signs  (Gauss-Newton of the squared error)

Both gradients have mean zero over the draw, so the square of a batch's mean gradient is the mean square of single
inputs over the batch size: batches of any size rank weights alike. Scores of all layers are comparable, which makes the
global pool an allocation by sensitivity. Source: Optimal Brain Damage (LeCun, 1990), with the Fisher information in
place of the Hessian as in arXiv 1801.05787.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import InputError
from elsa_edge.sparsify.data import Batches
from elsa_edge.sparsify.norms import evaluating
from elsa_edge.sparsify.prunable import Prunable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

__all__ = ["fisher_scores"]

_MOST_BATCHES: Final = 32
# Each input batch is drawn for several times: the draw is cheap noise, the data may be few.
_PARTS: Final = 4


def fisher_scores(
    model: nn.Module, weights: Sequence[Prunable], batches: Batches, generator: Generator
) -> dict[str, Tensor]:
    """Return a score for each weight, on the CPU, shaped like it.

    Args:
        model: The trained network; as before afterwards.
        weights: Which weights.
        batches: Inputs; the first 32 batches are used, each in four parts.
        generator: Draws the answers, on the CPU.

    Raises:
        InputError: When no gradient reaches a weight, or it is not finite.
    """
    import torch

    named = dict(model.named_parameters())
    parameters = {weight.name: named[weight.name] for weight in weights}
    wanted = {name: parameter.requires_grad for name, parameter in named.items()}
    squares = {name: torch.zeros_like(p, device="cpu") for name, p in parameters.items()}
    device = next(model.parameters()).device
    try:
        for name, parameter in named.items():
            parameter.requires_grad_(name in parameters)
        with evaluating(model), torch.enable_grad():
            for positional, keywords in islice(batches, _MOST_BATCHES):
                for part in range(_PARTS):
                    a = [_part(value, part).to(device) for value in positional]
                    k = {key: _part(value, part).to(device) for key, value in keywords.items()}
                    if any(len(value) == 0 for value in [*a, *k.values()]):
                        continue
                    surprise = _surprise(model(*a, **k), generator)
                    gradients = torch.autograd.grad(surprise, list(parameters.values()), allow_unused=True)
                    for name, gradient in zip(parameters, gradients, strict=True):
                        if gradient is not None:
                            squares[name] += gradient.detach().square().cpu()
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(wanted[name])
    scores = {name: squares[name] * parameters[name].detach().cpu().square() for name in parameters}
    silent = [name for name, square in squares.items() if not bool((square > 0).any())]
    broken = [name for name, score in scores.items() if not bool(torch.isfinite(score).all())]
    if silent or broken:
        raise InputError(
            "The outputs do not depend on some weights in a way that can be scored",
            found=", ".join([*silent, *broken][:5]),
            fix="Use the method magnitude, or exclude these",
        )
    return scores


def _part(value: Any, part: int) -> Any:
    size = -(-len(value) // _PARTS)
    return value[part * size : (part + 1) * size]


def _surprise(answer: Any, generator: Generator) -> Tensor:
    """Return a scalar whose gradient's square is the information in every output, in the mean over the draw."""
    import torch
    from torch.utils._pytree import tree_leaves

    total: Any = 0.0
    for output in tree_leaves(answer):
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            continue
        if output.dim() == 2 and output.shape[1] > 1:
            said = torch.softmax(output.detach().cpu().float(), 1)
            drawn = torch.multinomial(said, 1, generator=generator).to(output.device)
            total = total - torch.log_softmax(output, 1).gather(1, drawn).mean()
        else:
            signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
            total = total + (output * signs).sum() / (len(output) * max(1, output[0].numel()) ** 0.5)
    if not isinstance(total, torch.Tensor):
        raise InputError("The network puts out no numbers that weights could be scored by")
    return total
