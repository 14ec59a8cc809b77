"""ResNet-18 and ResNet-50."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.networks.settle import IMAGE, norm_relu, settled

__all__ = ["resnet18", "resnet50"]


class _Residual(nn.Module):
    """`relu(main(x) + x)`, with a 1x1 convolution on x where its shape changes."""

    def __init__(self, main: nn.Sequential, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.main = main
        self.side: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.side = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.main(x) + self.side(x))


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return ResNet's basic block: two 3x3 convolutions."""
    main = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        *norm_relu(outputs),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )
    return _Residual(main, inputs, outputs, stride)


class _ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.blocks = nn.Sequential(*(nn.Sequential(_block(i, o, s), _block(o, o, 1)) for i, o, s in widths))
        self.head = nn.Linear(512, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return logits


def resnet18() -> nn.Module:
    """Return ResNet-18, 11.7 M weights; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    return settled(_ResNet18(), IMAGE)


def _bottleneck(inputs: int, middle: int, stride: int) -> nn.Module:
    """Return ResNet-50's block: 1x1, 3x3 and 1x1 convolutions."""
    outputs = 4 * middle
    main = nn.Sequential(
        nn.Conv2d(inputs, middle, 1, bias=False),
        *norm_relu(middle),
        nn.Conv2d(middle, middle, 3, stride, 1, bias=False),
        *norm_relu(middle),
        nn.Conv2d(middle, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )
    return _Residual(main, inputs, outputs, stride)


def resnet50() -> nn.Module:
    """Return ResNet-50, 25.6 M weights, random; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), *norm_relu(64), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for middle, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(_bottleneck(inputs, middle, stride if number == 0 else 1))
            inputs = 4 * middle
    return settled(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000)), IMAGE
    )
