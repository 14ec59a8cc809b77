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

__all__ = ["read_inputs", "write_arrays"]

Array = npt.NDArray[Any]


def read_inputs(path: Path, inputs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """Read a network's inputs from an `.npz`.

    Raises:
        InputError: When the file is missing or damaged, or its arrays do not fit the network.
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
            given = {name: arrays[name] for name in arrays.files}
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is not a readable .npz ({error})") from error
    return check_inputs(inputs, given)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an `.npz` atomically."""
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():  # np.savez could not take an array named "file"
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
