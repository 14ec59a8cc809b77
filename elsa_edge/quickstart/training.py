"""Train the quickstart's network: SGD with momentum, a one-cycle learning rate, images shifted a little."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from elsa_edge.quickstart.data import Images, Labels

__all__ = ["epoch_of_batches", "pace", "steps_of", "train"]

BATCH_SIZE = 64
LEARNING_RATE = 0.2
WEIGHT_DECAY = 5e-4
_PACE_BATCHES = 6


def epoch_of_batches(
    images: Images, labels: Labels, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield all once, shuffled, each batch shifted by up to two pixels: `(batch, 1, 28, 28)`, `(batch,)`."""
    order = rng.permutation(len(labels))
    for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
        picked = order[start : start + BATCH_SIZE]
        down, right = rng.integers(-2, 3, size=2)
        # The borders are black: rolling is shifting.
        shifted = np.roll(images[picked], (down, right), axis=(2, 3))
        yield torch.from_numpy(shifted), torch.from_numpy(labels[picked])


def steps_of(epochs: int, images: Images) -> int:
    """Return how many optimiser steps so many epochs are."""
    return epochs * (len(images) // BATCH_SIZE)


def pace(model: nn.Module, images: Images, labels: Labels) -> tuple[int, float]:
    """Try a few batches on a copy, with one thread and with torch's default.

    Returns:
        The number of threads that was faster (on a busy machine that is one), and seconds per epoch with it.
    """
    default = torch.get_num_threads()
    count = min(_PACE_BATCHES, len(labels) // BATCH_SIZE) * BATCH_SIZE
    found = []
    try:
        for threads in sorted({1, default}):
            torch.set_num_threads(threads)
            copied = copy.deepcopy(model)
            for _ in range(2):  # the first is a warm-up
                start_s = time.monotonic()
                train(copied, images[:count], labels[:count], epochs=1, seed=0)
                elapsed_s = time.monotonic() - start_s
            found.append((elapsed_s / count * len(labels), threads))
    finally:
        torch.set_num_threads(default)
    epoch_s, threads = min(found)
    return threads, epoch_s


def train(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    epochs: int,
    seed: int,
    learning_rate: float = LEARNING_RATE,
    attach: Callable[[torch.optim.Optimizer], None] = lambda _optimizer: None,
    on_epoch: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> None:
    """Train in place.

    Args:
        model: Images to logits.
        images: `(n, 1, 28, 28)`.
        labels: `(n,)`.
        epochs: Passes over the images.
        seed: Of the order and the shifts.
        learning_rate: The highest; it rises to it and falls again.
        attach: Given the optimizer before the first step: a stage of `elsa_stages` hooks in here.
        on_epoch: Told the number of the finished epoch (from 1) and its mean loss.
    """
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    attach(optimizer)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps_of(epochs, images)
    )
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
