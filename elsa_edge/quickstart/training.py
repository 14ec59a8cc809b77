"""Train the quickstart's network: SGD with momentum, a one-cycle learning rate, images shifted a little."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from elsa_edge.quickstart.data import Images, Labels

__all__ = ["epoch_of_batches", "train"]

BATCH_SIZE = 64
LEARNING_RATE = 0.2
WEIGHT_DECAY = 5e-4


def epoch_of_batches(
    images: Images, labels: Labels, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield all once, shuffled, each batch shifted by up to two pixels: `(batch, 1, 28, 28)`, `(batch,)`."""
    order = rng.permutation(len(labels))
    for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
        picked = order[start : start + BATCH_SIZE]
        down, right = rng.integers(-2, 3, size=2)
        shifted = np.roll(
            images[picked], (down, right), axis=(2, 3)
        )  # the borders are black: rolling is shifting
        yield torch.from_numpy(shifted), torch.from_numpy(labels[picked])


def train(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    epochs: int,
    seed: int,
    on_epoch: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> None:
    """Train in place.

    Args:
        model: Images to logits.
        images: `(n, 1, 28, 28)`.
        labels: `(n,)`.
        epochs: Passes over the images.
        seed: Of the order and the shifts.
        on_epoch: Told the number of the finished epoch (from 1) and its mean loss.
    """
    rng = np.random.default_rng(seed)
    steps = epochs * (len(labels) // BATCH_SIZE)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    model.train()
    for epoch in range(1, epochs + 1):
        losses = []
        for batch, targets in epoch_of_batches(images, labels, rng):
            optimizer.zero_grad()
            loss = loss_of(model(batch), targets)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        on_epoch(epoch, float(np.mean(losses)))
    model.eval()
