"""How the weights of nested layers are stored: as they are, as half floats, or as 8-bit codes; with a factor a row.

    weight = stored * factor        the kernels multiply by the factor after the sum, in float32

Half floats have 11 bits, but only from 6e-5 to 65504, so each row is moved by a power of two, which changes no bit: its
magnitudes then add up to at most 32 and none is above 1/4. A sum of products with pixels up to 1024 cannot overflow.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST_PIXEL", "Stored", "stored"]

# What half floats may hold in planes, so that whatever is added up stays below 65504.
LARGEST_PIXEL: Final = 1024.0
_LARGEST_SUM: Final = 32.0
_LARGEST_WEIGHT: Final = 0.25
_LARGEST_CODE: Final = 127.0

Array = npt.NDArray[Any]


class Stored(StrEnum):
    """What a value of a segment is."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def stored(
    weight: npt.NDArray[np.float32], active: npt.NDArray[np.bool_], form: Stored
) -> tuple[Array, npt.NDArray[np.float64]]:
    """Return a weight as it is stored, and the factor of each row.

    Args:
        weight: (rows, columns).
        active: (rows, columns) What any level uses; the rest does not count.
        form: How to store it.
    """
    if form is Stored.FLOAT32:
        return weight, np.ones(len(weight))
    magnitude = np.abs(np.where(active, weight, 0)).astype(np.float64)
    largest = magnitude.max(axis=1, initial=0.0)
    if form is Stored.INT8:
        step = np.where(largest > 0, largest / _LARGEST_CODE, 1.0)
        return np.rint(weight / step[:, None]).clip(-_LARGEST_CODE, _LARGEST_CODE).astype(np.int8), step
    least = np.maximum(largest / _LARGEST_WEIGHT, magnitude.sum(axis=1) / _LARGEST_SUM)
    factor = np.exp2(np.ceil(np.log2(np.where(least > 0, least, 1.0))))
    return np.where(active, weight / factor[:, None], 0).astype(np.float16), factor
