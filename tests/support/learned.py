"""A small network that has really learnt something, in a second: which of ten noisy patterns of 8x8 it sees."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

SEEN = 1500


class Patterns(nn.Module):
    """Two convolutions with BatchNorm and a head, on 1x8x8."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(24)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.head(torch.relu(self.bn2(self.conv2(x))).mean((2, 3)))


def patterns() -> nn.Module:
    return Patterns()


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return noisy patterns `(count, 1, 8, 8)` and which they are."""
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, 10, (count,), generator=generator)
    return prototypes[labels] + 0.8 * torch.randn(count, 1, 8, 8, generator=generator), labels


def inputs() -> Tensor:
    """Return inputs without labels, as a data factory does."""
    return images(SEEN, 0)[0]


@functools.cache
def _trained() -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = Patterns()
    seen, labels = images(SEEN, 0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(150):
        chosen = torch.arange(step * 64, step * 64 + 64) % SEEN
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(seen[chosen]), labels[chosen]).backward()
        optimizer.step()
    return model.state_dict()


def learned() -> nn.Module:
    """Return the network with what it has learnt; always the same numbers."""
    model = Patterns()
    model.load_state_dict(_trained())
    return model.eval()


def accuracy(model: nn.Module) -> float:
    """Return the share of unseen images that are told right."""
    unseen, labels = images(1000, 1)
    with torch.no_grad():
        return float((model.eval()(unseen).argmax(1) == labels).float().mean())


def without_norm() -> nn.Module:
    """Return a network without BatchNorm, which several processes compute as one does up to rounding."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
