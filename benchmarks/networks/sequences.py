"""Networks over steps: a transformer block, an LSTM, both in a row, a GRU, and convolutions over signals and videos."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.networks.settle import SIGNAL, VIDEO, settled

__all__ = ["gru", "lstm", "lstm_transformer", "signal", "transformer", "video"]


class _Feed(nn.Module):
    """The feed-forward half of a transformer block, 512 wide, over 64 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(512)
        self.up, self.down = nn.Linear(512, 2048), nn.Linear(2048, 512)
        self.query, self.key, self.value, self.out = (nn.Linear(512, 512) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2) / 512**0.5, -1)
        x = x + self.out(weight @ self.value(x))
        y: torch.Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return y


def transformer() -> nn.Module:
    """Return one transformer block with a single head; input `(batch, 64, 512)`."""
    torch.manual_seed(0)
    return _Feed().eval()


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(128, 256, batch_first=True)
        self.head = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.cell(x)[0].mean(1))
        return logits


def lstm() -> nn.Module:
    """Return an LSTM of 256 over 32 steps; input `(batch, 32, 128)`."""
    torch.manual_seed(0)
    return _Lstm().eval()


class _Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(40, 256, batch_first=True)
        self.head = nn.Linear(256, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.cell(x)[0][:, -1])
        return logits


def gru() -> nn.Module:
    """Return a keyword spotter, a GRU of 256 over 49 steps of 40 features; input `(batch, 49, 40)`."""
    torch.manual_seed(0)
    return _Gru().eval()


class _Recurrent(nn.Module):
    """An LSTM and a transformer layer over 16 steps of 32 features."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(32, 64, batch_first=True)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(x)
        logits: torch.Tensor = self.head(self.encoder(y).mean(1))
        return logits


def lstm_transformer() -> nn.Module:
    """Return an LSTM of 64 before a transformer layer; input `(batch, 16, 32)`."""
    torch.manual_seed(0)
    return _Recurrent().eval()


def video() -> nn.Module:
    """Return convolutions over 8 pictures of 56 x 56, deep kernels before flat ones; input `(batch, 3, 8, 56, 56)`."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    before = VIDEO[1]
    for channels, depth, stride in (
        (32, 3, 1),
        (64, 3, 2),
        (64, 3, 1),
        (128, 1, 2),
        (128, 1, 1),
        (128, 1, 1),
    ):
        convolution = nn.Conv3d(
            before, channels, (depth, 3, 3), (1, stride, stride), (depth // 2, 1, 1), bias=False
        )
        modules += [convolution, nn.BatchNorm3d(channels), nn.ReLU()]
        before = channels
    network = nn.Sequential(*modules, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(before, 20))
    return settled(network, VIDEO)


def signal() -> nn.Module:
    """Return seven convolutions over half a second of sound, a keyword spotter's shape; input `(batch, 1, 8000)`."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    before = SIGNAL[1]
    for channels, kernel, stride in (
        (64, 9, 4),
        (64, 3, 1),
        (128, 3, 2),
        (128, 3, 1),
        (256, 3, 2),
        (256, 3, 1),
        (256, 3, 2),
    ):
        convolution = nn.Conv1d(before, channels, kernel, stride, kernel // 2, bias=False)
        modules += [convolution, nn.BatchNorm1d(channels), nn.ReLU()]
        before = channels
    network = nn.Sequential(*modules, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(before, 35))
    return settled(network, SIGNAL)
