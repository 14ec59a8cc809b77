"""BatchNorm's running statistics of a level, from inputs that need no label.

    variance' = variance * var(level) / var(dense)                            var and mean over the same inputs
    mean'     = mean(level) - (mean(dense) - mean) * sqrt(variance' / variance)

A mask changes what a layer puts out, so the dense network's statistics are wrong for a level. On what a network was
trained on var(dense) = variance and mean(dense) = mean, and the level's own moments are left. A few inputs, or others
than those, put the dense network as far off its statistics as the level, and that cancels; an uncut network keeps its
numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.errors import InputError
from elsa_edge.sparsify.data import Batches, offered
from elsa_edge.sparsify.norms import batch_norms, evaluating

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["DenseNorms", "dense_norms", "reestimate"]


@dataclass(frozen=True)
class DenseNorms:
    """The BatchNorm layers of the dense network: what they have stored, and what they are given.

    Attributes:
        stored: Name -> running mean and variance `(channels,)`.
        moments: For each batch: name -> mean and variance of what the layer was given, call by call.
        eps: Name -> what the layer adds to a variance.
    """

    stored: dict[str, tuple[Tensor, Tensor]]
    moments: list[dict[str, list[tuple[Tensor, Tensor]]]]
    eps: dict[str, float]


def dense_norms(model: nn.Module, batches: Batches) -> DenseNorms:
    """Return what BatchNorm has stored in the dense network and what it is given.

    Args:
        model: The dense network; it stays as it is.
        batches: Arguments of `forward`, those on which levels are estimated then.

    Raises:
        InputError: When there are no batches or the network does not take them.
    """
    found: list[dict[str, list[tuple[Tensor, Tensor]]]] = []

    def seen(name: str, norm: nn.Module, x: Tensor) -> None:
        found[-1].setdefault(name, []).append(_moments(norm, x))

    _run(model, batches, lambda: found.append({}), seen)
    norms = batch_norms(model)
    stored = {name: _statistics(norm) for name, norm in norms.items()}
    return DenseNorms(stored, found, {name: float(norm.eps) for name, norm in norms.items()})  # type: ignore[arg-type]  # a number


def reestimate(
    model: nn.Module, batches: Batches, dense: DenseNorms | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Estimate the running statistics of every BatchNorm anew, with the weights as they are.

    Args:
        model: Its BatchNorm buffers hold the new statistics afterwards; everything else is as before.
        batches: Arguments of `forward`; the average over batches is taken.
        dense: The dense network on the same batches; None takes the moments as they are, as for a network whose
            statistics were never estimated.

    Returns:
        state_dict name of each mean and variance -> float32 `(channels,)`.

    Raises:
        InputError: When there are no batches or the network does not take them.
    """
    import torch

    norms = batch_norms(model)
    sums: dict[str, list[Any]] = {}
    calls: Counter[str] = Counter()
    batch = -1

    def begin() -> None:
        nonlocal batch
        batch += 1
        calls.clear()

    def seen(name: str, norm: nn.Module, x: Tensor) -> None:
        mean, variance = _moments(norm, x)
        # A layer that only the level came to has nothing to be compared with.
        there = dense.moments[batch].get(name) if dense is not None else None
        if dense is not None and there:
            then = there[min(calls[name], len(there) - 1)]
            mean, variance = _carried_over((mean, variance), then, dense.stored[name], dense.eps[name])
        calls[name] += 1
        _set(norm, mean, variance)
        total = sums.setdefault(name, [0.0, 0.0, 0])
        total[0], total[1], total[2] = total[0] + mean, total[1] + variance, total[2] + 1

    _run(model, batches, begin, seen)
    found = {}
    with torch.no_grad():
        for name, norm in norms.items():
            if name in sums:
                mean_sum, variance_sum, times = sums[name]
                _set(norm, mean_sum / times, variance_sum / times)
            for part, value in zip(("running_mean", "running_var"), _statistics(norm), strict=True):
                found[f"{name}.{part}" if name else part] = value.float().cpu().numpy().copy()
    return found


def _run(
    model: nn.Module,
    batches: Batches,
    begin: Callable[[], None],
    seen: Callable[[str, nn.Module, Tensor], None],
) -> None:
    """Run a network on batches and show what arrives at each BatchNorm before it is normalised."""
    import torch

    norms = batch_norms(model)
    device = next(model.parameters()).device

    def hook(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda norm, inputs: seen(name, norm, inputs[0])

    handles = [norm.register_forward_pre_hook(hook(name)) for name, norm in norms.items()]
    count = 0
    try:
        with evaluating(model), torch.no_grad():
            for arguments, keywords in batches:
                begin()
                with offered(arguments, keywords):
                    model(*_moved(arguments, device), **{k: v.to(device) for k, v in keywords.items()})
                count += 1
    finally:
        for handle in handles:
            handle.remove()
    if count == 0:
        raise InputError("There is no batch to estimate BatchNorm statistics on")


def _moved(arguments: Iterable[Any], device: Any) -> list[Any]:
    return [argument.to(device) for argument in arguments]


def _moments(norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance `(channels,)`, by the operator that BatchNorm itself uses in training."""
    import torch

    mean, variance = (torch.zeros_like(statistic) for statistic in _statistics(norm))
    torch.nn.functional.batch_norm(x, mean, variance, training=True, momentum=1.0)
    return mean, variance


def _carried_over(
    level: tuple[Tensor, Tensor],
    dense: tuple[Tensor, Tensor],
    before: tuple[Tensor, Tensor],
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Return the statistics that take a level's moments to where the stored ones take the dense network's."""
    # Where a channel is silent in both networks 0 / 0 is meant to be 1. Means of inputs of a huge scale are long
    # numbers that nearly cancel: float32 would lose what is left.
    ratio = (level[1].double() + eps) / (dense[1].double() + eps)
    mean = level[0].double() - (dense[0].double() - before[0].double()) * ratio.sqrt()
    return mean.to(level[0]), (before[1].double() * ratio).to(level[1])


def _statistics(norm: nn.Module) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    return mean.detach().clone(), variance.detach().clone()  # type: ignore[operator]  # buffers of a norm


def _set(norm: nn.Module, mean: Any, variance: Any) -> None:
    norm.running_mean.copy_(mean)  # type: ignore[operator]  # a buffer
    norm.running_var.copy_(variance)  # type: ignore[operator]  # a buffer
