"""Bytes of an image file to the input of a network."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

__all__ = ["ImageError", "to_input"]

_MOST_PIXELS = 50_000_000


class ImageError(ValueError):
    """The bytes are no image that can be used; the sentence is for the client."""


def to_input(data: bytes, height: int, width: int) -> npt.NDArray[np.float32]:
    """Decode, turn as the camera's EXIF says, fit and scale as `(pixel - 127) / 128`.

    Args:
        data: A JPEG, PNG or WebP file.
        height: Of the network's input.
        width: Of the network's input.

    Returns:
        `(1, 3, height, width)`.

    Raises:
        ImageError: When the bytes are no such file, or the image is enormous.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ImageError(
                    f"The image has {image.width}x{image.height} pixels; at most 50 million are taken"
                )
            turned = ImageOps.exif_transpose(image).convert("RGB")
            pixels = np.asarray(ImageOps.fit(turned, (width, height)), np.float32)
    except Image.UnidentifiedImageError as error:  # its words show an object of Python's
        raise ImageError("The body is no JPEG, PNG or WebP image") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"The body is no JPEG, PNG or WebP image ({error})") from error
    return np.ascontiguousarray(((pixels - 127.0) / 128.0).transpose(2, 0, 1)[None])
