"""Further networks, beside those of benchmarks.models: ResNet-50, MobileNetV1, a transformer block, an LSTM."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from benchmarks.models import IMAGE, NETS, Net, settled

__all__ = ["LATENCY_NETS"]


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()]


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, middle: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * middle
        self.main = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            *_norm_relu(middle),
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False),
            *_norm_relu(middle),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.side: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.side = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.main(x) + self.side(x))


def resnet50() -> nn.Module:
    """Return ResNet-50, 25.6 M weights, random; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), *_norm_relu(64), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for middle, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(_Bottleneck(inputs, middle, stride if number == 0 else 1))
            inputs = 4 * middle
    return settled(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000)), IMAGE
    )


def mobilenet_v1() -> nn.Module:
    """Return MobileNetV1, 4.2 M weights, random; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), *_norm_relu(32)]
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    inputs = 32
    for outputs, stride in plan:
        layers += [nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), *_norm_relu(inputs)]
        layers += [nn.Conv2d(inputs, outputs, 1, bias=False), *_norm_relu(outputs)]
        inputs = outputs
    return settled(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000)), IMAGE
    )


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
    """Return an LSTM of 256 over 32 steps; input `(batch, 32, 128)`. Its cell stays ONNX Runtime's own."""
    torch.manual_seed(0)
    return _Lstm().eval()


LATENCY_NETS: Final = {
    **NETS,
    "resnet50": Net(resnet50, IMAGE),
    "mobilenet_v1": Net(mobilenet_v1, IMAGE),
    "transformer": Net(transformer, (1, 64, 512)),
    "lstm": Net(lstm, (1, 32, 128)),
}
