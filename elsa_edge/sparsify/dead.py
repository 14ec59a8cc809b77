"""Refuse a level whose outputs do not follow its inputs any more, although the densest level's do.

Cut by whole channels, a network can lose every path from its inputs to an output and answer the same to everything:
very fast, and of no use, and no repair brings it back. That shows only when it runs, so inputs are needed; without them
`export` finds it. An output that merely moves little is left to `repair` and `evaluate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import DeadLevelError
from elsa_edge.proof.information import spread
from elsa_edge.trained.loading import load_arrays

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["require_alive"]

_SAMPLES: Final = 8


def require_alive(
    model: nn.Module,
    checkpoint: NestedCheckpoint,
    arguments: tuple[torch.Tensor, ...],
    keywords: dict[str, torch.Tensor],
) -> None:
    """Run every level on a batch and on changes of it.

    Args:
        model: The network in evaluation mode; its numbers are the checkpoint's afterwards.
        checkpoint: The levels.
        arguments: Positional inputs of a batch.
        keywords: Named inputs of it.

    Raises:
        DeadLevelError: Naming the sparsest level that stands still.
    """
    device = next(model.parameters()).device
    feeds = [_few(arguments, keywords, lambda t, f=change: f(t).to(device)) for change in (_as_it_is, _other)]
    last = len(checkpoint.ladder) - 1
    try:
        moves = []
        for level in range(last + 1):
            load_arrays(model, checkpoint.at_level(level))
            one, two = (_run(model, *feed) for feed in feeds)
            moves.append([spread(a, [b]) for a, b in zip(one, two, strict=True)])
    except (RuntimeError, TypeError, ValueError, IndexError):
        return  # it does not take the changed inputs, so nothing is known
    finally:
        load_arrays(model, checkpoint.weights)
    for entry, here in zip(checkpoint.ladder, moves, strict=True):
        if any(moved == 0.0 < dense for moved, dense in zip(here, moves[last], strict=True)):
            raise DeadLevelError(
                f"Level {entry.name} does not follow its inputs any more: an output is the same for different inputs",
                expected=f"an output that answers to its inputs, as at level {checkpoint.ladder[last].name}",
                fix="Leave the level out, or cut less or otherwise (another granularity or allocation)",
            )


def _run(
    model: nn.Module, arguments: tuple[torch.Tensor, ...], keywords: dict[str, torch.Tensor]
) -> list[np.ndarray[Any, Any]]:
    """Return the outputs that are floats: a class may rightly be the same for different inputs."""
    import torch
    from torch.utils._pytree import tree_leaves

    with torch.no_grad():
        leaves = tree_leaves(model(*arguments, **keywords))
    floats = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    return [np.array(leaf.cpu().numpy()) for leaf in floats]


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _other(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same numbers in other places, floats halved."""
    moved = tensor.flip(-1).roll(1, 0) if tensor.ndim else tensor
    return moved * 0.5 if tensor.is_floating_point() else moved


def _few(
    arguments: tuple[torch.Tensor, ...], keywords: dict[str, torch.Tensor], change: Any
) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Return the first samples, changed; all of them where the inputs have no number of samples in common."""
    tensors = [*arguments, *keywords.values()]
    counts = {tensor.shape[0] if tensor.ndim else 0 for tensor in tensors}
    count = _SAMPLES if len(counts) == 1 and counts.pop() > _SAMPLES else None
    ready = [change(tensor[:count] if count else tensor) for tensor in tensors]
    return tuple(ready[: len(arguments)]), dict(zip(keywords, ready[len(arguments) :], strict=True))
