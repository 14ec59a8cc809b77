"""Real inputs for calibration: enough of them, finite, not all the same, and as many at once as a network takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ExportError, InputError
from elsa_edge.tensors import TensorSpec, check_inputs

__all__ = ["MIN_SAMPLES", "checked_samples", "fixed_batch", "inferences", "sample_axes"]

MIN_SAMPLES: Final = 16
_MOST_SAMPLES: Final = 256  # more hardly move the ranges and take time at every level

Array = npt.NDArray[Any]


def fixed_batch(specs: Mapping[str, TensorSpec]) -> int | None:
    """Return how many samples a network without free sizes takes at once: the first size, where all inputs share it."""
    firsts = {spec.shape[0] if spec.shape else None for spec in specs.values()}
    free = any(None in spec.shape for spec in specs.values())
    return None if free or len(firsts) != 1 else firsts.pop()


def sample_axes(specs: Mapping[str, TensorSpec]) -> dict[str, int]:
    """Return the axis of each input along which its samples lie; inputs without one are left out."""
    if fixed_batch(specs) is not None:
        return dict.fromkeys(specs, 0)
    axes = {name: spec.batch_axis for name, spec in specs.items()}
    # A free size that nobody calls the batch may be a length, unless it is the first.
    return {
        name: axis
        for name, axis in axes.items()
        if axis is not None and (axis == 0 or any(specs[name].sizes))
    }


def inferences(specs: Mapping[str, TensorSpec], samples: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Yield the inputs of the smallest inferences, one after the other: a sample each, or a batch where it is fixed.

    Args:
        specs: Inputs of the network.
        samples: As `checked_samples` returns them.
    """
    axes, at_once = sample_axes(specs), fixed_batch(specs) or 1
    count = min((samples[name].shape[axis] for name, axis in axes.items()), default=1)
    for start in range(0, count, at_once):
        place = np.arange(start, start + at_once)
        yield {
            name: np.take(array, place, axes[name]) if name in axes else array
            for name, array in samples.items()
        }


def checked_samples(
    specs: Mapping[str, TensorSpec], given: Mapping[str, Array], origin: str, fix: str
) -> dict[str, Array]:
    """Return at most 256 samples, spread over those given.

    A network whose batch is fixed takes any multiple of it: it is run a batch at a time.

    Args:
        specs: Inputs of the network.
        given: Arrays by name; one array for a network of one input needs no name.
        origin: Where they come from, for errors.
        fix: What a person can do about too few.

    Raises:
        InputError: When they do not fit the network or are not finite.
        ExportError: When they are too few or all the same, so that ranges would be made up.
    """
    axes, at_once = sample_axes(specs), fixed_batch(specs)
    if len(given) == 1 and len(specs) == 1:
        given = dict(zip(specs, given.values(), strict=True))
    try:
        inputs = check_inputs(_of_any_batch(specs) if at_once else specs, given)
    except InputError as error:
        raise InputError(
            f"The calibration data do not fit the network: {error.problem}",
            expected=error.expected,
            found=error.found,
        ) from error
    counts = {inputs[name].shape[axis] for name, axis in axes.items()}
    if len(counts) > 1:
        raise InputError(
            "Every input needs as many calibration samples", found=", ".join(map(str, sorted(counts)))
        )
    count = counts.pop() if counts else 1
    if at_once and count % at_once:
        raise InputError(
            "The calibration data do not fill the network's batches",
            expected=f"a multiple of {at_once} samples, its fixed batch",
            found=f"{count} in {origin}",
        )
    if count < MIN_SAMPLES:
        raise ExportError(
            "Ranges are taken from real inputs, and these are too few",
            expected=f"at least {MIN_SAMPLES} samples",
            found=f"{count} in {origin}",
            fix=fix,
        )
    for name in axes:
        if inputs[name].dtype.kind == "f" and not np.isfinite(inputs[name]).all():
            raise InputError(f"The calibration data of {name} hold values that are not finite")
    if axes and all(_alike(inputs[name], axis) for name, axis in axes.items()):
        raise ExportError(
            "The calibration data are constant, so they say nothing about ranges",
            found=f"{count} equal samples in {origin}",
            fix="Give inputs such as the device will see",
        )
    # To the last one: a file may be sorted by class.
    most = max(1, _MOST_SAMPLES // (at_once or 1)) * (at_once or 1)
    taken = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
    return {
        name: np.take(inputs[name], taken, axes[name]) if name in axes else inputs[name] for name in specs
    }


def _of_any_batch(specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, (None, *spec.shape[1:]), spec.dtype) for name, spec in specs.items()}


def _alike(samples: Array, axis: int) -> bool:
    return bool((samples == samples.take([0], axis)).all())
