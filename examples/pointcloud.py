"""PointNet++-style classifier of point clouds: group neighbours, look at each group, take the maximum, twice.

Clouds come from Fashion-MNIST: the 64 brightest pixels as points (x, y, brightness), in farthest-point order,
so that the first 16 points are well spread and serve as the centres of the first grouping without sampling
inside the network.

    elsa-edge train examples/pointcloud.yaml -o pointcloud.safetensors
    elsa-edge export pointcloud.safetensors --model examples.pointcloud:pointnet --input-shape 1x64x3 -o
    p.onnx
"""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from examples.data import fashion_arrays

POINTS = 64


def _layers(widths: list[int]) -> nn.Sequential:
    """Return linear layers on the last axis, each with LayerNorm and ReLU."""
    steps: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        steps += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU()]
    return nn.Sequential(*steps)


class Grouping(nn.Module):
    """Around each of the first `centres` points:

    its nearest neighbours, seen from it, through a small network.
    """

    def __init__(self, centres: int, neighbours: int, widths: list[int]) -> None:
        super().__init__()
        self.centres, self.neighbours = centres, neighbours
        self.network = _layers(widths)

    def forward(self, places: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Places `(batch, n, 3)`, features `(batch, n, c)` to centres' places and features."""
        centres = places[:, : self.centres]
        offsets = places.unsqueeze(1) - centres.unsqueeze(2)  # (batch, centres, n, 3)
        nearest = offsets.square().sum(-1).topk(self.neighbours, dim=-1, largest=False).indices
        near_offsets = offsets.gather(2, nearest.unsqueeze(-1).expand(-1, -1, -1, 3))
        wide = features.unsqueeze(1).expand(-1, self.centres, -1, -1)
        near_features = wide.gather(2, nearest.unsqueeze(-1).expand(-1, -1, -1, features.shape[-1]))
        grouped = self.network(torch.cat([near_offsets, near_features], -1))
        return centres, grouped.amax(2)


class PointNet(nn.Module):
    """Points `(batch, 64, 3)` to logits `(batch, 10)`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Grouping(16, 8, [6, 32, 48])
        self.second = Grouping(4, 8, [51, 64, 96])
        self.whole = _layers([99, 128])
        self.head = nn.Linear(128, 10)

    def forward(self, points: Tensor) -> Tensor:
        """Classify."""
        places, features = self.second(*self.first(points, points))
        logits: Tensor = self.head(self.whole(torch.cat([places, features], -1)).amax(1))
        return logits


def pointnet() -> nn.Module:
    """Return the network: 26 thousand weights."""
    return PointNet()


def clouds(images: Tensor) -> Tensor:
    """Turn images `(n, 1, 28, 28)` into points `(n, 64, 3)` in farthest-point order, coordinates in [-1, 1]."""
    flat = images.reshape(len(images), -1)
    values, pixels = flat.topk(POINTS, dim=1)
    x, y = (pixels % 28) / 13.5 - 1.0, (pixels // 28) / 13.5 - 1.0
    points = torch.stack([x, y, values], -1)
    nearest = torch.full((len(points), POINTS), torch.inf)
    chosen = torch.zeros(len(points), dtype=torch.long)
    order = []
    rows = torch.arange(len(points))
    for _ in range(POINTS):
        order.append(chosen)
        gap = (points[..., :2] - points[rows, chosen, :2].unsqueeze(1)).square().sum(-1)
        nearest = torch.minimum(nearest, gap)
        nearest[rows, chosen] = -1.0
        chosen = nearest.argmax(1)
    return points.gather(1, torch.stack(order, 1).unsqueeze(-1).expand(-1, -1, 3))


@functools.cache
def fashion_points() -> tuple[TensorDataset, TensorDataset]:
    """Return 8000 + 2000 clouds of the ten classes of Fashion-MNIST."""
    x, y, test_x, test_y = fashion_arrays()
    return TensorDataset(clouds(x[:8000]), y[:8000]), TensorDataset(clouds(test_x[:2000]), test_y[:2000])
