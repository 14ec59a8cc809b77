"""Random weights that behave: BatchNorm statistics from data, so that a network follows its inputs."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from elsa_edge.sparsify.statistics import reestimate

__all__ = ["DIGIT", "FEATURES", "IMAGE", "SIGNAL", "VIDEO", "noise", "norm_relu", "settled"]

# One image.
IMAGE: Final = (1, 3, 224, 224)
# One handwritten digit.
DIGIT: Final = (1, 1, 28, 28)
# A second of sound, as 49 frames of 10 coefficients.
FEATURES: Final = (1, 1, 49, 10)
# Half a second of sound.
SIGNAL: Final = (1, 1, 8000)
# Eight pictures of a video.
VIDEO: Final = (1, 3, 8, 56, 56)


def norm_relu(channels: int) -> list[nn.Module]:
    """Return what follows a convolution: a BatchNorm, whose statistics `settled` sets, and ReLU."""
    return [nn.BatchNorm2d(channels), nn.ReLU()]


def noise(input_shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    """Return normal inputs, `(samples, *input_shape[1:])`: a few images, or as many rows as BatchNorm needs."""
    samples = 4 if len(input_shape) >= len(IMAGE) else 64
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
