"""The quickstart's network: four convolutions with BatchNorm and a linear head, 112k weights."""

from __future__ import annotations

import torch
from torch import nn

from elsa_edge.quickstart.data import CLASSES

__all__ = ["DigitsNet", "digits_net"]


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class DigitsNet(nn.Module):
    """Images `(batch, 1, 28, 28)` to logits `(batch, 10)`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _convolution(1, 32, 1), _convolution(32, 64, 2), _convolution(64, 64, 2), _convolution(64, 96, 1)
        )
        self.head = nn.Linear(96, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify."""
        logits: torch.Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


def digits_net() -> nn.Module:
    """Return the network with fresh weights: the model factory `elsa_edge.quickstart.model:digits_net`."""
    return DigitsNet()
