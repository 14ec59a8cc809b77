"""Networks of matrix products: an MLP, and one too small to mean anything."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.networks.settle import settled

__all__ = ["mlp", "tiny"]


def tiny() -> nn.Module:
    """Return 16-32-4, for trying a benchmark out; too small for its figures to mean anything; input `(batch, 16)`."""
    torch.manual_seed(0)
    return settled(nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4)), (1, 16))


def mlp() -> nn.Module:
    """Return 784-1024-1024-10 with BatchNorm, 1.9 M weights; input `(batch, 784)`."""
    torch.manual_seed(0)
    hidden = [
        nn.Linear(784, 1024),
        nn.BatchNorm1d(1024),
        nn.ReLU(),
        nn.Linear(1024, 1024),
        nn.BatchNorm1d(1024),
    ]
    return settled(nn.Sequential(*hidden, nn.ReLU(), nn.Linear(1024, 10)), (1, 784))
