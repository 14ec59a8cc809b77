"""The trained networks that are cut and repaired: ResNet-20 on all of Fashion-MNIST, one a seed, kept once trained.

Its first convolution has stride 2, so that an epoch takes a minute of one core instead of five.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Final

import torch
from torch import nn

from elsa_edge.files import atomic_file
from examples.cnn import ResNet, fashion

__all__ = ["EPOCHS", "accuracy", "fashion_arrays", "resnet20", "resnet20_trained"]

EPOCHS: Final = 6
_BATCH: Final = 128
_KEPT: Final = Path(__file__).parents[2] / ".cache" / "benchmarks" / "repair"


def fashion_arrays() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return training images and labels, test images and labels; images float32 `(n, 1, 28, 28)`."""
    train, test = fashion()
    return train.tensors[0], train.tensors[1], test.tensors[0], test.tensors[1]


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images, in [0, 1], whose highest output is their label."""
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in torch.split(images, 500)])
    return float((found == labels).float().mean())


def resnet20() -> nn.Module:
    """Return ResNet-20 for images of 28x28 with a first convolution of stride 2: 272 thousand parameters."""
    model = ResNet(3)
    first = model.features[0]
    assert isinstance(first, nn.Sequential)
    first[0] = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
    made: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # lacks this form
    return made


def _batches(count: int, generator: torch.Generator) -> list[torch.Tensor]:
    order = torch.randperm(count, generator=generator)
    return list(torch.split(order[: count // _BATCH * _BATCH], _BATCH))


def resnet20_trained(seed: int, epochs: int = EPOCHS) -> nn.Module:
    """Return ResNet-20 trained with labels: SGD with momentum, one cosine, mirror images, shifts of two pixels."""
    kept = _KEPT / f"resnet20-{epochs}-epochs-seed-{seed}.pt"
    torch.manual_seed(seed)
    model = resnet20()
    if kept.is_file():
        model.load_state_dict(torch.load(kept, weights_only=True))
        return model.eval()
    images, labels, test_images, test_labels = fashion_arrays()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(seed)
    steps, step = epochs * (len(images) // _BATCH), 0
    for epoch in range(epochs):
        model.train()
        for chosen in _batches(len(images), generator):
            warm = min(1.0, (step + 1) / (0.1 * steps))
            optimizer.param_groups[0]["lr"] = 0.1 * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
            batch = torch.nn.functional.pad(images[chosen], (2, 2, 2, 2))
            top, left = (int(n) for n in torch.randint(0, 5, (2,), generator=generator))
            batch = batch[:, :, top : top + 28, left : left + 28]
            if float(torch.rand((), generator=generator)) < 0.5:
                batch = batch.flip(3)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels[chosen])
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            optimizer.step()
            step += 1
        shown = accuracy(model, test_images, test_labels)
        print(f"dense, seed {seed}, epoch {epoch + 1}: {shown:.4f}", file=sys.stderr, flush=True)
    with atomic_file(kept) as temporary:
        torch.save(model.state_dict(), temporary)
    return model.eval()
