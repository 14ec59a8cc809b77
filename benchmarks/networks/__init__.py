"""The networks that benchmarks measure, written small, with random weights: the only place where they are made.

Random weights are enough for speed, size and memory, and say nothing about accuracy; EfficientNet-Lite0 alone has its
ImageNet weights. Networks of others, in environments of their own, are in benchmarks/zoo and benchmarks/real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torch import nn

from benchmarks.networks.dense import mlp
from benchmarks.networks.mobile import efficientnet_lite0, keyword, mobilenet_v1, mobilenet_v2
from benchmarks.networks.residual import resnet18, resnet50
from benchmarks.networks.sequences import gru, lstm, lstm_transformer, signal, transformer, video
from benchmarks.networks.settle import DIGIT, FEATURES, IMAGE, SIGNAL, VIDEO
from benchmarks.networks.vision import digits, vit_b_16

__all__ = ["FEW", "NETS", "Net"]


@dataclass(frozen=True, slots=True)
class Net:
    """A network to measure with: its factory and the input shape for batch 1."""

    factory: Callable[[], nn.Module]
    input_shape: tuple[int, ...]


NETS: Final = {
    "mlp": Net(mlp, (1, 784)),
    "mobilenet_v2": Net(mobilenet_v2, IMAGE),
    "resnet18": Net(resnet18, IMAGE),
    "efficientnet_lite0": Net(efficientnet_lite0, IMAGE),
    "resnet50": Net(resnet50, IMAGE),
    "mobilenet_v1": Net(mobilenet_v1, IMAGE),
    "transformer": Net(transformer, (1, 64, 512)),
    "gru": Net(gru, (1, 49, 40)),
    "lstm": Net(lstm, (1, 32, 128)),
    "signal": Net(signal, SIGNAL),
    "video": Net(video, VIDEO),
    "keyword": Net(keyword, FEATURES),
    "digits": Net(digits, DIGIT),
    "vit_b_16": Net(vit_b_16, IMAGE),
    "lstm_transformer": Net(lstm_transformer, (1, 16, 32)),
}
# What benchmarks of whole paths take: one network of each family.
FEW: Final = ("mlp", "mobilenet_v2", "resnet18", "efficientnet_lite0")
