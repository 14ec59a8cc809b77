"""Small networks of many kinds, with random nested levels: plumbing is tested on all of them, accuracy on none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as f

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.levels import Ladder, index_from_scores
from elsa_edge.tensors import TensorSpec


class ConvNet(nn.Module):
    """Plain, depthwise, grouped, dilated and transposed convolution, BatchNorm1d/2d, residual add."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.mix = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2)
        self.up_norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, dilation=2)
        self.hidden = nn.Linear(4, 10)
        self.hidden_norm = nn.BatchNorm1d(10)
        self.head = nn.Linear(10, 5, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name that torch's own modules use
        y = torch.relu(self.norm(self.stem(input)))
        y = y + f.silu(self.mix(self.depthwise(y)))
        y = self.grouped(self.up_norm(self.up(y))).mean((2, 3))
        return self.head(self.hidden_norm(self.hidden(y)))


class Recurrent(nn.Module):
    """Embedding, stacked bidirectional LSTM, GRU, attention, LayerNorm, two outputs, integer input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.lstm = nn.LSTM(16, 8, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 20)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, _ = self.lstm(self.embed(tokens))
        y, _ = self.gru(y)
        z, _ = self.attention(y, y, y, need_weights=False)
        return self.head(self.norm(y + z)), y.mean(1)


class TwoInputs(nn.Module):
    """Conv1d, two inputs in another order than forward's, dictionary output, an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 8, 3, stride=2)
        self.norm = nn.BatchNorm1d(8)
        self.depthwise = nn.Conv1d(8, 8, 3, groups=8)
        self.head = nn.Linear(8, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, offset: torch.Tensor) -> dict[str, torch.Tensor]:
        y = f.hardswish(self.depthwise(f.silu(self.norm(self.conv(x)))))
        return {"logits": self.head(y.mean(-1)) + offset, "features": y}


class Transformer(nn.Module):
    """Encoder layers, head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 30, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(tokens)))


class Mlp(nn.Module):
    """Two layers with a BatchNorm between; large enough for shared and encoded weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(24, 64)
        self.norm = nn.BatchNorm1d(64)
        self.second = nn.Linear(64, 64)
        self.head = nn.Linear(64, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.norm(self.first(x))))))


@dataclass(frozen=True)
class Entry:
    """A network of the zoo: how to make it, its inputs, the ladder it gets, whether levels have norms of their own."""

    make: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    sparsities: tuple[float, ...]
    dense: tuple[str, ...] = ()
    tables: bool = True


ZOO = {
    "conv": Entry(
        ConvNet,
        (TensorSpec("input", (1, 3, 12, 12)),),
        (0.9, 0.5, 0.2),
        dense=("grouped.weight", "hidden.weight"),
    ),
    "recurrent": Entry(
        Recurrent, (TensorSpec("tokens", (1, 7), "int64"),), (0.8, 0.0), dense=("embed.weight",)
    ),
    "two_inputs": Entry(TwoInputs, (TensorSpec("offset", (1, 3)), TensorSpec("x", (1, 6, 20))), (0.6,)),
    "transformer": Entry(
        Transformer,
        (TensorSpec("tokens", (1, 9), "int64"),),
        (0.9, 0.0),
        dense=("embed.weight", "head.weight"),
        tables=False,
    ),
    "mlp": Entry(Mlp, (TensorSpec("x", (1, 24)),), (0.95, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0)),
}


def trained_like(model: nn.Module, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the state of a model with BatchNorm statistics that are not the initial ones."""
    generator = np.random.default_rng(seed)
    state = {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}
    for name, array in state.items():
        if name.endswith("running_var"):
            state[name] = generator.uniform(0.5, 2.0, array.shape).astype(np.float32)
        elif name.endswith("running_mean"):
            state[name] = generator.normal(0.0, 0.5, array.shape).astype(np.float32)
    return state


def nested_checkpoint(entry: Entry, seed: int = 0) -> tuple[NestedCheckpoint, nn.Module]:
    """Return random nested levels for a network of the zoo, and the network."""
    torch.manual_seed(seed)
    model = entry.make()
    ladder = Ladder.from_sparsities(entry.sparsities)
    state = trained_like(model, seed)
    indices = {
        name: index_from_scores(np.abs(array), [round((1 - s) * array.size) for s in ladder.sparsities])
        for name, array in state.items()
        if array.ndim >= 2 and name not in entry.dense
    }
    factors = 1 + 0.1 * np.arange(len(ladder), dtype=np.float32)
    tables = {
        name: np.stack([state[name] * factor for factor in factors])
        for name in state
        if entry.tables and name.endswith(("running_mean", "running_var", "norm.bias", "hidden.bias"))
    }
    return NestedCheckpoint(state, indices, tables, ladder, {"method": "zoo"}), model
