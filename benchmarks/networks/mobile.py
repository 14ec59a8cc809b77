"""Networks of depthwise convolutions: a keyword spotter, MobileNetV1 and V2, EfficientNet-Lite0 (ImageNet weights)."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.networks.settle import FEATURES, IMAGE, norm_relu, settled

__all__ = ["efficientnet_lite0", "keyword", "mobilenet_v1", "mobilenet_v2"]


def keyword() -> nn.Module:
    """Return a keyword spotter of 64 channels (DS-CNN), 22 k weights, random; input `(batch, 1, 49, 10)`.

    Source: Zhang et al., "Hello Edge", 2017; the shape that MLPerf Tiny measures.
    """
    torch.manual_seed(0)
    channels = 64
    layers: list[nn.Module] = [nn.Conv2d(1, channels, (10, 4), 2, (5, 1), bias=False), *norm_relu(channels)]
    for _ in range(4):
        layers += [nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False), *norm_relu(channels)]
        layers += [nn.Conv2d(channels, channels, 1, bias=False), *norm_relu(channels)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 12)]
    return settled(nn.Sequential(*layers, *head), FEATURES)


def mobilenet_v1() -> nn.Module:
    """Return MobileNetV1, 4.2 M weights, random; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), *norm_relu(32)]
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    inputs = 32
    for outputs, stride in plan:
        layers += [nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), *norm_relu(inputs)]
        layers += [nn.Conv2d(inputs, outputs, 1, bias=False), *norm_relu(outputs)]
        inputs = outputs
    return settled(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000)), IMAGE
    )


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


def efficientnet_lite0() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights, 4.7 M; input `(batch, 3, 224, 224)`."""
    from examples.efficientnet_lite0 import checkpoint_path
    from examples.efficientnet_lite0 import efficientnet_lite0 as architecture

    model = architecture()
    model.load_state_dict(torch.load(checkpoint_path(), weights_only=True))
    return model.eval()
