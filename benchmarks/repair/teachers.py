"""The trained network that is cut and repaired: ResNet-14 on Fashion-MNIST, with labels, once; kept while it trains.

    55 000 training images   the network is trained on them; levels are taught on some of them, without their labels
     5 000 training images   `validation`: nobody is trained on them; settings are chosen on them
    10 000 test images       the figures that are reported; nothing is chosen by them

Six blocks of 24, 48 and 96 channels (0.38 million weights); the first convolution has stride 2, so that an epoch takes
one to two minutes of one core in place of five.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from elsa_edge.files import atomic_file
from elsa_edge.repairing.augment import Augmentation
from examples.cnn import ResNet, fashion

__all__ = ["EPOCHS", "Fashion", "accuracy", "fashion_images", "resnet14", "resnet14_trained"]

EPOCHS: Final = 5
_BATCH: Final = 128
_VALIDATION: Final = 5000
_REACH: Final = 2
_KEPT: Final = Path(__file__).parents[2] / ".cache" / "benchmarks" / "repair"


@dataclass(frozen=True)
class Fashion:
    """Fashion-MNIST in three parts; images float32 `(n, 1, 28, 28)`, labels `(n,)`."""

    images: Tensor
    labels: Tensor
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def fashion_images() -> Fashion:
    """Return the three parts; the split is fixed."""
    train, test = fashion()
    images, labels = train.tensors
    return Fashion(
        images[:-_VALIDATION],
        labels[:-_VALIDATION],
        (images[-_VALIDATION:], labels[-_VALIDATION:]),
        (test.tensors[0], test.tensors[1]),
    )


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images, in [0, 1], whose highest output is their label."""
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in torch.split(images, 500)])
    return float((found == labels).float().mean())


def resnet14(width: int = 24) -> nn.Module:
    """Return ResNet-14 for images of 28x28, of `width` to 4 `width` channels, with a first convolution of stride 2."""
    model = ResNet(2, width=width)
    first = model.features[0]
    assert isinstance(first, nn.Sequential)
    first[0] = nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False)
    made: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # lacks this form
    return made


def resnet14_trained(seed: int = 0, epochs: int = EPOCHS) -> nn.Module:
    """Return ResNet-14 trained on labels: SGD, one cosine, images mirrored at random, batches shifted by two pixels."""
    kept = _KEPT / f"resnet14-{epochs}-epochs-seed-{seed}.pt"
    torch.manual_seed(seed)
    model = resnet14()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    done = 0
    if kept.is_file():
        saved = torch.load(kept, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        done = int(saved["epochs"])
    data = fashion_images()
    for epoch in range(done, epochs):
        _train_epoch(model, optimizer, data, epoch, epochs=epochs, seed=seed)
        shown = accuracy(model, *data.validation)
        print(f"dense, seed {seed}, epoch {epoch + 1}: validation {shown:.4f}", file=sys.stderr, flush=True)
        with atomic_file(kept) as temporary:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}
            torch.save(state, temporary)
    return model.eval()


def _train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Fashion, epoch: int, *, epochs: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(1000 * seed + epoch)
    order = torch.randperm(len(data.images), generator=generator)
    batches = list(torch.split(order[: len(order) // _BATCH * _BATCH], _BATCH))
    steps, step = epochs * len(batches), epoch * len(batches)
    mirror = Augmentation(flip=True)
    model.train()
    for chosen in batches:
        warm = min(1.0, (step + 1) / (0.1 * steps))
        optimizer.param_groups[0]["lr"] = 0.1 * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        batch = nn.functional.pad(data.images[chosen], (_REACH,) * 4)
        top, left = (int(n) for n in torch.randint(0, 2 * _REACH + 1, (2,), generator=generator))
        batch = batch[:, :, top : top + 28, left : left + 28]
        ((batch,), _) = mirror.apply(((batch,), {}), generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch), data.labels[chosen])
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()
        step += 1
