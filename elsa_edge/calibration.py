"""Real inputs from which variants of few bits take their ranges: where they come from, and that they serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from elsa_edge.bundle.golden import Golden
from elsa_edge.errors import InputError
from elsa_edge.inputs import read_arrays
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quantise.samples import checked_samples, fixed_batch
from elsa_edge.tensors import TensorSpec

__all__ = ["calibration_samples"]

_FIX: Final = (
    "Name an .npz of real inputs in the profile (tflite.calibration) or build with `--golden FILE.npz`"
)
# Golden inputs are of one batch.
_FIX_OF_FIXED_BATCH: Final = (
    "Name an .npz of real inputs in the profile (tflite.calibration): the network's batch is fixed, so golden inputs "
    "are too few, but that file may hold any multiple of it"
)

Array = npt.NDArray[Any]


def calibration_samples(
    specs: Mapping[str, TensorSpec], profile: DeviceProfile, golden: Golden
) -> tuple[dict[str, Array], str]:
    """Return calibration inputs, and where they come from.

    Args:
        specs: Inputs of the canonical graph.
        profile: Its `tflite.calibration` names an `.npz`; without it the golden inputs are taken.
        golden: Golden inputs.

    Raises:
        InputError: When they cannot be read, do not fit the network or are not finite.
        ExportError: When they are too few or all the same, so that ranges would be made up.
    """
    path = profile.tflite.calibration
    if path is None:
        origin = "the golden inputs"
        fix = _FIX if fixed_batch(specs) is None else _FIX_OF_FIXED_BATCH
        return checked_samples(specs, golden.inputs, origin, fix), origin
    try:
        given = read_arrays(Path(path))
    except InputError as error:
        raise InputError(
            f"The calibration data {path} cannot be read ({error.problem})", expected="an .npz of arrays"
        ) from error
    return checked_samples(specs, given, path, _FIX), path
