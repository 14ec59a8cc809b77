"""Networks to measure with, written small: an MLP, ResNet-18 and MobileNetV2, with random weights.

Random weights are enough for speed, size and memory, and say nothing about accuracy. EfficientNet-Lite0 with
its ImageNet weights comes from examples/efficientnet_lite0.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from elsa_edge.sparsify.norms import reestimate

__all__ = [
    "IMAGE",
    "NETS",
    "Net",
    "efficientnet_lite0",
    "mlp",
    "mobilenet_v2",
    "noise",
    "resnet18",
    "settled",
    "tiny",
]

# One image.
IMAGE: Final = (1, 3, 224, 224)


def noise(input_shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    """Return normal inputs, `(samples, *input_shape[1:])`: a few images, or as many rows as BatchNorm needs."""
    samples = 4 if len(input_shape) == len(IMAGE) else 64
    return torch.randn((samples, *input_shape[1:]), generator=torch.Generator().manual_seed(seed))


def settled(model: nn.Module, input_shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """Give a random network BatchNorm scales that differ by channel, and the statistics that follow from them.

    Folding them is real work then, and the network follows its inputs: with made-up statistics the activations
    of fifty layers fade, and every input has the same answer.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = noise(input_shape, seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            shape = module.weight.shape
            module.weight.data = torch.rand(shape, generator=generator) + 0.5
            module.bias.data = torch.randn(shape, generator=generator) * 0.1
    reestimate(model, [((inputs,), {})])
    return model.eval()


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


class _Block(nn.Module):
    """ResNet's basic block: two 3x3 convolutions beside an identity or a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.side: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.side = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.main(x) + self.side(x))


class _ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.blocks = nn.Sequential(*(nn.Sequential(_Block(i, o, s), _Block(o, o, 1)) for i, o, s in widths))
        self.head = nn.Linear(512, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return logits


def resnet18() -> nn.Module:
    """Return ResNet-18, 11.7 M weights; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    return settled(_ResNet18(), IMAGE)


class _Inverted(nn.Module):
    """MobileNetV2's inverted residual: 1x1 expansion, 3x3 depthwise, linear 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers = [nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU6()]
        layers += [nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False), nn.BatchNorm2d(middle)]
        layers += [nn.ReLU6(), nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.main = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.main(x)
        return x + out if self.residual else out


class _MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        blocks, inputs = [], 32
        for expansion, outputs, count, stride in (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ):
            for number in range(count):
                blocks.append(_Inverted(inputs, outputs, stride if number == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6())
        self.head = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.last(self.blocks(self.stem(x))).mean(dim=(2, 3)))
        return logits


def mobilenet_v2() -> nn.Module:
    """Return MobileNetV2, 3.5 M weights; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    return settled(_MobileNetV2(), IMAGE)


@dataclass(frozen=True, slots=True)
class Net:
    """A network to measure with: its factory and the input shape for batch 1."""

    factory: Callable[[], nn.Module]
    input_shape: tuple[int, ...]


def efficientnet_lite0() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights, 4.7 M; input `(batch, 3, 224, 224)`."""
    from examples.efficientnet_lite0 import checkpoint_path
    from examples.efficientnet_lite0 import efficientnet_lite0 as architecture

    model = architecture()
    model.load_state_dict(torch.load(checkpoint_path(), weights_only=True))
    return model.eval()


NETS: Final = {
    "mlp": Net(mlp, (1, 784)),
    "mobilenet_v2": Net(mobilenet_v2, IMAGE),
    "resnet18": Net(resnet18, IMAGE),
    "efficientnet_lite0": Net(efficientnet_lite0, IMAGE),
}
