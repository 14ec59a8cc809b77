"""Data factories of the training tests: patterns that a small network can learn, made from a fixed seed."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from support import nets


def _images(count: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, 10, (count,), generator=generator)
    return TensorDataset(prototypes[labels] + 0.3 * torch.randn(count, 1, 8, 8, generator=generator), labels)


def images() -> tuple[Dataset, Dataset]:
    return _images(96, 0), _images(50, 1)


def as_mapping() -> dict[str, Dataset]:
    train, test = images()
    return {"train": train, "test": test}


def empty() -> tuple[list, list]:
    return [], []


def nonsense() -> int:
    return 3


class Drop(nets.Conv):
    """With dropout: its random numbers must go on after a resume."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(x, 0.2, self.training))


def with_dropout() -> nn.Module:
    return Drop()


def without_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
