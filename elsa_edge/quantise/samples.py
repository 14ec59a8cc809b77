"""Real inputs for calibration: enough of them, finite, and not all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ExportError, InputError
from elsa_edge.tensors import TensorSpec, check_inputs

__all__ = ["MIN_SAMPLES", "checked_samples"]

MIN_SAMPLES: Final = 16
_MOST_SAMPLES: Final = 256  # more hardly move the ranges and take time at every level

Array = npt.NDArray[Any]


def checked_samples(
    specs: Mapping[str, TensorSpec], given: Mapping[str, Array], origin: str, fix: str
) -> dict[str, Array]:
    """Return at most 256 samples, spread over those given.

    Args:
        specs: Inputs of the network.
        given: Arrays by name; one array for a network of one input needs no name.
        origin: Where they come from, for errors.
        fix: What a person can do about too few.

    Raises:
        InputError: When they do not fit the network or are not finite.
        ExportError: When they are too few or all the same, so that ranges would be made up.
    """
    batched = {name for name, spec in specs.items() if spec.shape and spec.shape[0] is None}
    if len(given) == 1 and len(specs) == 1:
        given = dict(zip(specs, given.values(), strict=True))
    try:
        inputs = check_inputs(specs, given)
    except InputError as error:
        raise InputError(
            f"The calibration data do not fit the network: {error.problem}",
            expected=error.expected,
            found=error.found,
        ) from error
    counts = {len(inputs[name]) for name in batched}
    if len(counts) > 1:
        raise InputError(
            "Every input needs as many calibration samples", found=", ".join(map(str, sorted(counts)))
        )
    count = counts.pop() if counts else 1
    if count < MIN_SAMPLES:
        raise ExportError(
            "int8 takes its ranges from real inputs, and these are too few",
            expected=f"at least {MIN_SAMPLES} samples",
            found=f"{count} in {origin}",
            fix=fix,
        )
    for name in batched:
        if inputs[name].dtype.kind == "f" and not np.isfinite(inputs[name]).all():
            raise InputError(f"The calibration data of {name} hold values that are not finite")
    if batched and all(
        np.array_equal(inputs[n], np.broadcast_to(inputs[n][:1], inputs[n].shape)) for n in batched
    ):
        raise ExportError(
            "The calibration data are constant, so they say nothing about ranges",
            found=f"{count} equal samples in {origin}",
            fix="Give inputs such as the device will see",
        )
    step = max(1, count // _MOST_SAMPLES)
    return {n: inputs[n][::step][:_MOST_SAMPLES] if n in batched else inputs[n] for n in specs}
