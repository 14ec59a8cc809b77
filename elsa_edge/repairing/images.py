"""A folder of pictures as inputs: decoded once, resized, and scaled as the network was trained.

    pixels 0..255  ->  (pixel / 255 - mean) / std      which mean and std, the network's own BatchNorm tells

The centre of each picture, a square, becomes one input. Needs Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.errors import InputError, RuntimeUnavailableError, UnknownNameError, UsageError, first_line
from elsa_edge.repairing.checks import likeness, refuse_unlike
from elsa_edge.repairing.samples import Arguments
from elsa_edge.sparsify.likeness import Likeness
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

__all__ = ["SCALINGS", "ImageFolder", "read_folder", "scaled_like_training"]

_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"}
)

# name -> mean and standard deviation of pixels in 0..1
SCALINGS: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "unit": ((0.0,), (1.0,)),
    "signed": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bytes": ((0.0,), (1.0 / 255.0,)),
}


class ImageFolder:
    """Pictures in memory as bytes, scaled when they are taken.

    Args:
        pixels: uint8 `(pictures, h, w, channels)`.
        name: Argument of `forward` that they feed; empty for the first.
        scaling: A name in `SCALINGS`.
    """

    def __init__(self, pixels: np.ndarray[Any, Any], name: str, scaling: str) -> None:
        import torch

        if scaling not in SCALINGS:
            raise UnknownNameError("scaling", scaling, ["auto", *SCALINGS])
        self.pixels, self.name, self.scaling = pixels, name, scaling
        mean, std = SCALINGS[scaling]
        self._mean = torch.tensor(mean).reshape(1, -1, 1, 1)
        self._std = torch.tensor(std).reshape(1, -1, 1, 1)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, places: Tensor) -> Arguments:
        """Return pictures as float32 `(count, channels, h, w)`."""
        import torch

        pixels = torch.from_numpy(self.pixels[places.numpy()]).movedim(3, 1).float() / 255.0
        images = ((pixels - self._mean) / self._std).contiguous()
        return ((), {self.name: images}) if self.name else ((images,), {})


def read_folder(folder: Path, spec: TensorSpec) -> np.ndarray[Any, Any]:
    """Return the pictures of a folder and its folders, as uint8 `(pictures, h, w, channels)`.

    Args:
        folder: Where to look.
        spec: The network's input, `(batch, 1 or 3, h, w)`.

    Raises:
        UsageError: When that input takes no pictures.
        InputError: When there is no picture, or one cannot be read.
        RuntimeUnavailableError: When Pillow is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise RuntimeUnavailableError(
            "Reading pictures needs Pillow", fix="pip install 'elsa-edge[train]'"
        ) from error
    if len(spec.shape) != 4 or spec.shape[1] not in (1, 3) or spec.dtype != "float32":
        raise UsageError(
            "A folder of pictures feeds an input of pictures",
            expected="--input-shape such as 1x3x224x224",
            found=str(spec),
        )
    channels, height, width = spec.shape[1], spec.shape[2], spec.shape[3]
    assert height is not None
    assert width is not None
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"There is no picture in {folder}", expected=", ".join(sorted(_SUFFIXES)))
    made = []
    for path in paths:
        try:
            with Image.open(path) as opened:
                picture = _eight_bits(ImageOps.exif_transpose(opened)).convert(
                    "L" if channels == 1 else "RGB"
                )
                fitted = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read as a picture ({first_line(error)})", fix="Repair or remove that file"
            ) from error
        made.append(np.asarray(fitted, np.uint8).reshape(height, width, channels))
    return np.stack(made)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a picture of 16 bits in 8, which Pillow's own conversion would clip."""
    from PIL import Image

    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture, np.float64) / 257.0).clip(0.0, 255.0).astype(np.uint8))


def scaled_like_training(
    model: nn.Module, pixels: np.ndarray[Any, Any], name: str, scaling: str
) -> tuple[ImageFolder, str | None]:
    """Return pictures scaled as asked for; `auto` takes the scaling nearest to what BatchNorm has stored.

    Returns:
        The pictures, and a sentence on what `auto` chose.

    Raises:
        UsageError: When `auto` has no BatchNorm to ask.
        InputError: When no scaling fits.
    """
    if scaling != "auto":
        return ImageFolder(pixels, name, scaling), None
    tried: list[tuple[Likeness, ImageFolder]] = []
    for known, (mean, _) in SCALINGS.items():
        if len(mean) not in (1, pixels.shape[3]):
            continue
        folder = ImageFolder(pixels, name, known)
        found = likeness(model, _first(folder, 64))
        if found is None:
            raise UsageError(
                "How the pictures are scaled cannot be seen from a network without BatchNorm",
                allowed=SCALINGS,
                fix="Give --scale",
            )
        tried.append((found, folder))
    best, folder = min(tried, key=lambda pair: pair[0].cost)
    refuse_unlike(best)
    return folder, f"Pictures are scaled as {folder.scaling!r}: {best.sentence}."


def _first(folder: ImageFolder, count: int) -> Sequence[Arguments]:
    import torch

    return [folder.take(torch.arange(min(count, len(folder))))]
