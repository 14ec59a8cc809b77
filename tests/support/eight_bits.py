"""A small network that 8-bit kernels compute wholly, inputs for it, and what may change with random weights."""

from __future__ import annotations

import torch
from torch import nn

from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.profiles import load_profile

__all__ = ["TOLERANT", "Small", "profile", "samples"]


def profile(**settings):
    """Random weights change their mind easily: what may change is given by each test."""
    plain = load_profile("generic-x86-64")
    return plain.model_copy(update={"tflite": plain.tflite.model_copy(update=settings)})


TOLERANT = profile(int8_changed_answers=0.2)


class Small(nn.Module):
    """Residuals with and without a convolution, a maximum, strides, groups, depthwise, a mean and two products."""

    def __init__(self, stem: int = 12) -> None:
        super().__init__()
        torch.manual_seed(0)

        def norm(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Module:
            conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs))

        self.stem = norm(3, stem, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.first = nn.Sequential(norm(stem, stem, 3), nn.ReLU(), norm(stem, stem, 3))
        self.second = nn.Sequential(norm(stem, 24, 3, 2), nn.ReLU(), norm(24, 24, 3, groups=2))
        self.beside = norm(stem, 24, 1, 2)
        self.third = nn.Sequential(
            norm(24, 30, 1), nn.ReLU6(), norm(30, 30, 3, groups=30), nn.ReLU6(), norm(30, 24, 1)
        )
        self.head = nn.Sequential(nn.Linear(24, 18), nn.ReLU(), nn.Linear(18, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.stem(x)))
        x = torch.relu(self.first(x) + x)
        x = torch.relu(self.second(x) + self.beside(x))
        x = self.third(x) + x
        return self.head(x.mean((2, 3)))


def samples(graph, count=24, seed=1):
    return example_inputs(list(graph.inputs.values()), count, seed=seed)
