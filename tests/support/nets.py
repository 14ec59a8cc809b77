"""Small networks for the tests of sparsify and training, found by factories as `support.nets:NAME`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv(nn.Module):
    """Two convolutions with BatchNorm and a head, on 1x8x8."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * channels)
        self.head = nn.Linear(2 * channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(torch.max_pool2d(x, 2))))
        return self.head(x.mean((2, 3)))


class Branching(Conv):
    """The same, but torch.fx cannot trace it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else x * 1.0)


class PaddedConv(nn.Conv2d):
    """A user's own convolution: torch.fx would look inside it."""

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (1, 1, 1, 1))
        return nn.functional.conv2d(x, self.weight, self.bias)


class Derived(Conv):
    """The network with a convolution of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2 = PaddedConv(8, 16, 3, bias=False)


class HeadFirst(nn.Module):
    """Two heads, registered before the layers that feed them."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Linear(16, 10)
        self.boxes = nn.Linear(16, 4)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.body(x))
        return self.classes(x), self.boxes(x)


class Tied(nn.Module):
    """An embedding tied to the last layer, and two layers tied to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.out = nn.Linear(8, 11, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.second(torch.relu(self.first(self.embedding(tokens)))))


class Zoo(nn.Module):
    """One layer of every kind that can be sparse, and some that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 8)
        self.conv1 = nn.Conv1d(8, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose1d(8, 12, 2, groups=2)
        self.norm = nn.LayerNorm(12)
        self.lstm = nn.LSTM(12, 8, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.up(self.conv1(self.embed(tokens).transpose(1, 2))).transpose(1, 2)
        x = self.gru(self.lstm(self.norm(x))[0])[0]
        return self.head(self.attention(x, x, x)[0])


def conv() -> nn.Module:
    return Conv()


def wide_conv() -> nn.Module:
    return Conv(12)


def tied() -> nn.Module:
    return Tied()


def needs_arguments(width: int) -> nn.Module:
    return Conv(width)


def not_a_network() -> int:
    return 3


def raises() -> nn.Module:
    raise RuntimeError("no luck")
