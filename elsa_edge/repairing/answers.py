"""What the dense network says about the inputs to train on, asked once where they are not varied.

A step needs the dense network's answers to its batch. Inputs that stay as they are get the same answer every time, so
where a repair passes over them more than once they are asked for in the beginning, which saves a fifth of its time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.repairing.samples import Arguments, Samples

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["remembered_answers"]

_MOST_BYTES: Final = 256 * 2**20


def remembered_answers(
    samples: Samples,
    answer: Callable[[Arguments], Any],
    *,
    draws: int,
    batch_size: int,
    in_time: Callable[[], bool],
) -> Tensor | None:
    """Ask for the answers to all inputs that are trained on.

    Args:
        samples: The inputs.
        answer: The dense network.
        draws: How many inputs the steps will take, repeats included.
        batch_size: Inputs asked about at once.
        in_time: Whether there is time for another batch.

    Returns:
        `(inputs, ...)` in the order of all inputs, rows that are not trained on undefined; None where it would not
        pay, does not fit in memory, or the answer is no single tensor.
    """
    import torch

    if samples.augmentation.active or draws < 2 * len(samples.train_places):
        return None
    table: Tensor | None = None
    for places in torch.split(samples.train_places, batch_size):
        if not in_time():
            return None
        found = answer(samples.take(places))
        if not isinstance(found, torch.Tensor) or len(found) != len(places):
            return None
        if table is None:
            size = found[0].numel() * found.element_size() * len(samples)
            if size > _MOST_BYTES:
                return None
            table = found.new_empty((len(samples), *found.shape[1:]))
        table[places.to(table.device)] = found
    return table
