"""Codes of activations: an unsigned byte stands for a number.

    x = (code - zero) * step        code = clip(rint(float32(x) * float32(1 / step) + zero), 0, 255)

The range always holds 0, so that padding and a ReLU's zero have a code of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ContractError

__all__ = ["LARGEST_CODE", "Steps", "codes_of", "steps_for", "values_of"]

LARGEST_CODE: Final = 255
# Far from what float32 cannot hold; a range this small is as good as none.
_SMALLEST_RANGE: Final = 1e-20


@dataclass(frozen=True, slots=True)
class Steps:
    """How one tensor is coded at one level.

    Attributes:
        step: Between two codes; a float32 above 0.
        zero: The code of 0.
    """

    step: float
    zero: int

    @property
    def low(self) -> float:
        """The least number that has a code."""
        return -self.zero * self.step

    @property
    def high(self) -> float:
        """The largest number that has a code."""
        return (LARGEST_CODE - self.zero) * self.step


def steps_for(low: float, high: float) -> Steps:
    """Return steps whose codes cover [low, high] and 0.

    A tensor that is 0 everywhere, such as an activation that never fires at a level, gets a step of 1: its only code
    is that of 0, and whatever another input makes of it stays finite.

    Raises:
        ContractError: When a bound is not finite or they are in the wrong order.
    """
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise ContractError("A range of activations must be finite", found=f"{low} to {high}")
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < _SMALLEST_RANGE:
        return Steps(1.0, 0)
    step = float(np.float32((high - low) / LARGEST_CODE))
    return Steps(step, int(np.clip(np.rint(-low / step), 0, LARGEST_CODE)))


def codes_of(values: npt.NDArray[Any], steps: Steps) -> npt.NDArray[np.uint8]:
    """Return the codes of float32 values, bit for bit as the kernels do; NaN becomes code 0."""
    inverse = np.float32(1.0) / np.float32(steps.step)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values.astype(np.float32) * inverse + np.float32(steps.zero)
    bounded = np.clip(np.nan_to_num(scaled, nan=0.0), np.float32(0), np.float32(LARGEST_CODE))
    codes: npt.NDArray[np.uint8] = np.rint(bounded).astype(np.uint8)
    return codes


def values_of(codes: npt.NDArray[np.uint8], steps: Steps) -> npt.NDArray[np.float32]:
    """Return the float32 values of codes."""
    values: npt.NDArray[np.float32] = (codes.astype(np.float32) - np.float32(steps.zero)) * np.float32(
        steps.step
    )
    return values
