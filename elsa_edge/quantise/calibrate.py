"""Ranges of activations from what they are on real inputs.

    min-max      all that was seen
    percentile   all but 0.01 % at each end
    mse          the shrunk range whose codes have the least mean squared error; the default

Extremes are exact; percentiles and errors come from a sample of the values, the same at each run.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import InputError, UnknownNameError
from elsa_edge.quantise.steps import Steps, codes_of, steps_for, values_of

__all__ = ["METHODS", "Method", "Observer"]

Method = Literal["min-max", "percentile", "mse"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
_KEPT_EACH: Final = 2048  # values of each array that are kept
_TAIL: Final = 0.01  # percent, at each end
_SHRINKS: Final = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)


class Observer:
    """Watches one tensor over several runs.

    Args:
        name: Of the tensor, for errors.
        channel_axis: The axis of its channels, whose means it keeps, or None.
    """

    def __init__(self, name: str, channel_axis: int | None = None) -> None:
        self.name = name
        self.low = self.high = 0.0
        self._axis = channel_axis
        self._sums: npt.NDArray[np.float64] | None = None
        self._count = 0
        self._sample: list[npt.NDArray[np.float32]] = []

    def see(self, values: npt.NDArray[Any]) -> None:
        """Take note of one array.

        Raises:
            InputError: When it holds a value that is not finite.
        """
        if not np.isfinite(values).all():
            raise InputError(
                f"{self.name} is not finite on the calibration data, so it has no range",
                fix="Look for NaN or infinity in the data, or for an overflow in the network",
            )
        if values.size == 0:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        # A stride that is no multiple of a row's length visits all places of an image.
        self._sample.append(flat[:: max(1, flat.size // _KEPT_EACH) | 1][: 2 * _KEPT_EACH].copy())
        if self._axis is not None:
            others = tuple(a for a in range(values.ndim) if a != self._axis % values.ndim)
            sums = values.sum(axis=others, dtype=np.float64)
            self._sums = sums if self._sums is None else self._sums + sums
            self._count += values.size // values.shape[self._axis]

    @property
    def means(self) -> npt.NDArray[np.float64]:
        """The mean of each channel.

        Raises:
            InputError: When nothing was seen.
        """
        self._require_data()
        assert self._sums is not None
        return self._sums / self._count

    def steps(self, method: Method = "mse") -> Steps:
        """Return how to code the tensor.

        Raises:
            UnknownNameError: When there is no such method.
            InputError: When nothing was seen.
        """
        if method not in METHODS:
            raise UnknownNameError("calibration method", method, METHODS)
        self._require_data()
        if method == "min-max":
            return steps_for(self.low, self.high)
        sample = np.concatenate(self._sample)
        if method == "percentile":
            low, high = np.percentile(sample, [_TAIL, 100 - _TAIL])
            return steps_for(float(low) if low < 0 else 0.0, float(high) if high > 0 else 0.0)
        candidates = [steps_for(self.low * shrink, self.high * shrink) for shrink in _SHRINKS]
        errors = [float(np.square(values_of(codes_of(sample, s), s) - sample).mean()) for s in candidates]
        return candidates[int(np.argmin(errors))]

    def _require_data(self) -> None:
        if not self._sample:
            raise InputError(
                f"There are no calibration data for {self.name}", fix="Give real inputs: int8 needs ranges"
            )
