"""Small networks in shapes that people bring and libraries lack: recurrent ones, raw and computed parameters, ties."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations

__all__ = [
    "Experts",
    "Field",
    "KeywordOnly",
    "Masked",
    "Shared",
    "Spectral",
    "Spotter",
    "Tcn",
    "TiedLanguage",
]


class Spotter(nn.Module):
    """A keyword spotter: two recurrent layers over 98 frames of 40 bands."""

    def __init__(self, layer: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        self.cells = layer(40, 96, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(192, 12)

    def forward(self, x: torch.Tensor) -> Any:
        """Return `(batch, 12)` for `(batch, frames, 40)`."""
        return self.head(self.cells(x)[0].mean(1))


class Experts(nn.Module):
    """A mixture of four experts whose weights are bare parameters, multiplied by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 4)
        self.up = nn.Parameter(torch.randn(4, 64, 128) * 0.1)
        self.down = nn.Parameter(torch.randn(4, 128, 64) * 0.1)

    def forward(self, x: torch.Tensor) -> Any:
        """Return `(batch, 64)` for `(batch, 64)`."""
        hidden = torch.einsum("bi,eio->beo", x, self.up).relu()
        answers = torch.einsum("beo,eoi->bei", hidden, self.down)
        return (answers * self.gate(x).softmax(-1)[..., None]).sum(1)


class Field(nn.Module):
    """Colour and density of points in space, from sines of their coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(36, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4)
        )

    def forward(self, points: torch.Tensor) -> Any:
        """Return `(batch, 4)` for `(batch, 3)`."""
        angles = torch.cat([points * 2.0**power for power in range(6)], -1)
        return self.layers(torch.cat([angles.sin(), angles.cos()], -1))


class Spectral(nn.Module):
    """Convolutions whose weights are divided by their spectral norm."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [
            nn.Conv2d(3, 32, 3, padding=1),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.Conv2d(64, 64, 3, 2, 1),
        ]
        self.layers = nn.ModuleList(parametrizations.spectral_norm(layer) for layer in convolutions)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> Any:
        """Return `(batch, 10)` for `(batch, 3, h, w)`."""
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x))
        return self.head(x.mean((2, 3)))


class Tcn(nn.Module):
    """Dilated convolutions over time with weight_norm."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((16, 1), (48, 2), (48, 4))
        self.layers = nn.ModuleList(
            parametrizations.weight_norm(nn.Conv1d(inputs, 48, 3, dilation=wide, padding=wide))
            for inputs, wide in sizes
        )
        self.head = nn.Linear(48, 5)

    def forward(self, x: torch.Tensor) -> Any:
        """Return `(batch, 5)` for `(batch, 16, time)`."""
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x.mean(-1))


class TiedLanguage(nn.Module):
    """A transformer over tokens whose head is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(500, 64)
        self.body = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2, enable_nested_tensor=False
        )
        self.head = nn.Linear(64, 500, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> Any:
        """Return `(batch, length, 500)` for `(batch, length)`."""
        return self.head(self.body(self.table(tokens)))


class Shared(nn.Module):
    """One block, passed three times."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(64, 64), nn.GELU())
        self.head = nn.Linear(64, 8)

    def forward(self, x: torch.Tensor) -> Any:
        """Return `(batch, 8)` for `(batch, 64)`."""
        for _ in range(3):
            x = x + self.block(x)
        return self.head(x)


class Masked(nn.Module):
    """An optional argument that is left out stands before one that is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)

    def forward(
        self, x: torch.Tensor, bias: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Any:
        """Return `(batch, 64)` for `(batch, 64)` each."""
        y = self.first(x).relu()
        y = y if bias is None else y + bias
        return self.second(y if mask is None else y * mask)


class KeywordOnly(nn.Module):
    """A picture, and numbers about it by keyword only."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.mind = nn.Conv2d(3, 32, 3, 2), nn.Linear(6, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, image: torch.Tensor, *, meta: torch.Tensor) -> Any:
        """Return `(batch, 4)` for `(batch, 3, h, w)` and `(batch, 6)`."""
        return self.head(self.eye(image).relu().mean((2, 3)) + self.mind(meta).tanh())
