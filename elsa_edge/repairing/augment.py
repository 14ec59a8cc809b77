"""Varied copies of images, because hundreds of inputs must do: shifts and zooms (`crop`), and mirror images (`flip`).

The dense network answers for the varied image itself, so a variation need not keep a label right. It should only
look like what the network was trained on; `auto` asks the network whether it does.

    small (below 64 pixels)   shift by whole pixels, up to an eighth of the side; the border is mirrored
    large                     a window of 60 to 100 % of the side, resampled bilinearly to the full size
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Arguments", "Augmentation", "augmentation_named", "fitting_augmentation", "is_image"]

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of `forward` for one batch."""

_SMALL: Final = 64
_MANY: Final = 2048
_AS_SURE: Final = 0.95
_SMALLEST_WINDOW: Final = 0.6


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How images among the arguments are varied; other arguments stay as they are."""

    crop: bool = False
    flip: bool = False

    @property
    def active(self) -> bool:
        """Whether anything is varied."""
        return self.crop or self.flip

    def apply(self, arguments: Arguments, generator: Generator) -> Arguments:
        """Return the arguments with every image `(batch, channels, h, w)` varied, each in its own way."""
        positional, named = arguments
        return (
            tuple(self._vary(value, generator) for value in positional),
            {name: self._vary(value, generator) for name, value in named.items()},
        )

    def _vary(self, value: Any, generator: Generator) -> Any:
        if not is_image(value):
            return value
        if min(value.shape[2:]) < _SMALL:
            return _shifted(value, generator, crop=self.crop, flip=self.flip)
        return _windows(value, generator, crop=self.crop, flip=self.flip)


def is_image(value: Any) -> bool:
    """Return whether this is a batch of images: float `(batch, 1 or 3, h, w)` of at least 8 x 8."""
    return (
        hasattr(value, "is_floating_point")
        and value.is_floating_point()
        and value.dim() == 4
        and value.shape[1] in (1, 3)
        and min(value.shape[2:]) >= 8
    )


def augmentation_named(name: str) -> Augmentation:
    """Return the augmentation of a name other than `auto`."""
    return Augmentation(crop=name.startswith("crop"), flip=name.endswith("flip"))


def fitting_augmentation(
    arguments: Arguments, count: int, sureness: Callable[[Arguments], float], seed: int
) -> Augmentation:
    """Return the strongest variation that leaves the network as sure as it is of the inputs themselves.

    Args:
        arguments: Some of the inputs.
        count: How many there are; of many none needs to be varied.
        sureness: How sure the dense network is of its answers, above 0.
        seed: Of the trial.
    """
    import torch

    values = [*arguments[0], *arguments[1].values()]
    if count >= _MANY or not any(is_image(value) for value in values):
        return Augmentation()
    usual = sureness(arguments)
    for tried in (Augmentation(crop=True, flip=True), Augmentation(crop=True)):
        found = sureness(tried.apply(arguments, torch.Generator().manual_seed(seed)))
        if found >= _AS_SURE * usual:
            return tried
    return Augmentation()


def _flips(count: int, generator: Generator, *, flip: bool) -> Tensor:
    import torch

    chosen = torch.rand(count, generator=generator) < 0.5
    return chosen if flip else torch.zeros_like(chosen)


def _shifted(images: Tensor, generator: Generator, *, crop: bool, flip: bool) -> Tensor:
    import torch

    count, _, height, width = images.shape
    flips = _flips(count, generator, flip=flip)
    images = torch.where(flips[:, None, None, None], images.flip(3), images)
    if not crop:
        return images
    reach = max(1, min(height, width) // 8)
    padded = torch.nn.functional.pad(images, (reach,) * 4, mode="reflect")
    tops = torch.randint(0, 2 * reach + 1, (count,), generator=generator)
    lefts = torch.randint(0, 2 * reach + 1, (count,), generator=generator)
    rows = (tops[:, None] + torch.arange(height))[:, :, None]  # (batch, h, 1)
    columns = (lefts[:, None] + torch.arange(width))[:, None, :]  # (batch, 1, w)
    batch = torch.arange(count)[:, None, None]
    return padded.movedim(1, 3)[batch, rows, columns].movedim(3, 1).contiguous()


def _windows(images: Tensor, generator: Generator, *, crop: bool, flip: bool) -> Tensor:
    import torch

    count = len(images)
    sides = torch.ones(count)
    if crop:
        sides = _SMALLEST_WINDOW + (1.0 - _SMALLEST_WINDOW) * torch.rand(count, generator=generator)
    centres = (1.0 - sides)[:, None] * (2.0 * torch.rand(count, 2, generator=generator) - 1.0)
    signs = torch.where(_flips(count, generator, flip=flip), -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)  # rows: x and y of the window; columns: x, y, 1
    theta[:, 0, 0], theta[:, 0, 2] = sides * signs, centres[:, 0]
    theta[:, 1, 1], theta[:, 1, 2] = sides, centres[:, 1]
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
