"""Where the calibration inputs of 8-bit variants come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.golden import Golden
from elsa_edge.errors import InputError
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quantise.samples import checked_samples, fixed_batch
from elsa_edge.tensors import TensorSpec

__all__ = ["calibration_samples", "pieces"]

_BATCH: Final = 8
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
) -> dict[str, Array]:
    """Return calibration inputs: the `.npz` that the profile names, without one the golden inputs.

    Raises:
        InputError: When they cannot be read, do not fit the network or are not finite.
        ExportError: When they are too few or all the same.
    """
    path = profile.tflite.calibration
    if path is None:
        fix = _FIX if fixed_batch(specs) is None else _FIX_OF_FIXED_BATCH
        return checked_samples(specs, golden.inputs, "the golden inputs", fix)
    try:
        with np.load(Path(path), allow_pickle=False) as arrays:
            given = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"The calibration data {path} cannot be read ({error})", expected="an .npz of arrays"
        ) from error
    return checked_samples(specs, given, path, _FIX)


def pieces(samples: Mapping[str, Array], session: Any) -> Iterator[dict[str, Array]]:
    """Cut samples into a few at a time: memory for all values of a network is needed at once.

    Where an input has its batch in another place than in front, all samples are one piece. A network whose batch is
    fixed gets pieces of it.

    Args:
        samples: By name; inputs that the session does not have are left out.
        session: Of ONNX Runtime.
    """
    given = {entry.name: entry.shape for entry in session.get_inputs() if entry.name in samples}
    free = {name for name, shape in given.items() if shape and not isinstance(shape[0], int)}
    elsewhere = any(not isinstance(size, int) for name in given.keys() - free for size in given[name])
    firsts = (
        {int(shape[0]) if shape else 0 for shape in given.values()} if not free and not elsewhere else set()
    )
    if len(firsts) == 1 and (at_once := firsts.pop()) > 0:
        for start in range(0, len(samples[next(iter(given))]), at_once):
            yield {name: samples[name][start : start + at_once] for name in given}
        return
    counts = {len(samples[name]) for name in free}
    if elsewhere or len(counts) != 1:
        yield {name: samples[name] for name in given}
        return
    for start in range(0, counts.pop(), _BATCH):
        yield {
            name: samples[name][start : start + _BATCH] if name in free else samples[name] for name in given
        }
