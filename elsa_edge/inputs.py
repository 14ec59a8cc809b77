"""Arrays from and to `.npz` files, for the command line and for golden inputs; nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import InputError
from elsa_edge.files import atomic_file
from elsa_edge.tensors import TensorSpec, check_inputs

__all__ = ["count_samples", "read_arrays", "read_inputs", "take_samples", "write_arrays"]

Array = npt.NDArray[Any]


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an `.npz`, by name.

    Raises:
        InputError: When the file is missing or damaged, or holds one array without a name.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}", expected="an .npz with one array per input")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError(
                f"{path} holds one array without a name", expected="an .npz with one array per input"
            )
        with loaded as arrays:
            return {name: arrays[name] for name in arrays.files}
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is not a readable .npz ({error})") from error


def read_inputs(path: Path, inputs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """Read a network's inputs from an `.npz`.

    Raises:
        InputError: When the file is missing or damaged, or its arrays do not fit the network.
    """
    return check_inputs(inputs, read_arrays(path))


def take_samples(
    inputs: Mapping[str, TensorSpec], arrays: Mapping[str, Array], start: int, stop: int
) -> dict[str, Array]:
    """Return samples `start` to `stop` along the batch of each input; an input without a batch stays whole."""
    taken = {}
    for name, array in arrays.items():
        axis = inputs[name].batch_axis
        cut = (slice(None),) * (axis or 0) + (slice(start, stop),)
        taken[name] = array if axis is None else np.asarray(array[cut], order="C")
    return taken


def count_samples(inputs: Mapping[str, TensorSpec], arrays: Mapping[str, Array]) -> int | None:
    """Return how many samples arrays hold along their batches; None where no input has one.

    Raises:
        InputError: When two inputs hold different numbers.
    """
    counts = {
        name: arrays[name].shape[spec.batch_axis]
        for name, spec in inputs.items()
        if spec.batch_axis is not None and name in arrays
    }
    if len(set(counts.values())) > 1:
        raise InputError(
            "The inputs hold different numbers of samples",
            found=", ".join(f"{name} {count}" for name, count in counts.items()),
        )
    return next(iter(counts.values()), None)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an `.npz` atomically."""
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():  # np.savez could not take an array named "file"
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
