"""Golden inputs and outputs: what the oracle answered, so that a device can check itself."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import BundleError
from elsa_edge.files import atomic_file
from elsa_edge.tensors import largest_difference

__all__ = ["FILE_NAME", "LARGEST_BYTES", "Golden", "Tolerance", "largest_difference"]

FILE_NAME: Final = "golden.npz"
# Unpacked: a hostile archive of a few kilobytes could otherwise fill a device's memory.
LARGEST_BYTES: Final = 1 << 30
_INPUT: Final = "input/"
_OUTPUT: Final = "output/"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Golden:
    """Inputs of one batch and the canonical graph's outputs at every level.

    Attributes:
        inputs: Input name -> array, batch first.
        outputs: One mapping per level, sparsest first: output name -> array.
    """

    inputs: Mapping[str, Array]
    outputs: tuple[Mapping[str, Array], ...]

    def save(self, path: Path) -> None:
        """Write an `.npz` atomically: `input/NAME` and `output/LEVEL/NAME`."""
        # numpy < 2 would store its keyword allow_pickle=False as an array: object arrays are refused here.
        arrays: dict[str, Any] = {_INPUT + name: array for name, array in self.inputs.items()}
        for level, outputs in enumerate(self.outputs):
            arrays |= {f"{_OUTPUT}{level}/{name}": array for name, array in outputs.items()}
        strange = [name for name, array in arrays.items() if array.dtype.hasobject]
        if strange:
            raise BundleError(
                "Golden arrays must hold numbers", found=f"Python objects in {', '.join(strange)}"
            )
        with atomic_file(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, path: Path, level_count: int) -> Golden:
        """Read a golden file; never unpickles, never unpacks more than `LARGEST_BYTES`.

        Raises:
            BundleError: When the file is missing, damaged, too large, or lacks inputs or a level's outputs.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                size_bytes = sum(entry.file_size for entry in archive.infolist())
            if size_bytes > LARGEST_BYTES:
                raise BundleError(
                    f"The golden file {path.name} is too large",
                    expected=f"at most {LARGEST_BYTES} bytes",
                    found=size_bytes,
                    fix="A handful of samples is enough",
                )
            with np.load(path, allow_pickle=False) as arrays:
                inputs = {n.removeprefix(_INPUT): arrays[n] for n in arrays.files if n.startswith(_INPUT)}
                outputs = tuple(
                    {n.removeprefix(p): arrays[n] for n in arrays.files if n.startswith(p)}
                    for p in (f"{_OUTPUT}{level}/" for level in range(level_count))
                )
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"The golden file {path.name} cannot be read ({error})") from error
        if not inputs or not all(outputs):
            raise BundleError(
                f"The golden file {path.name} is incomplete", expected=f"outputs of {level_count} levels"
            )
        return cls(inputs, outputs)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The numeric contract of a variant: |variant - canonical| <= relative * max(1, max |canonical|)."""

    relative: float = 1e-4

    def allows(self, difference: float, scale: float) -> bool:
        """Return whether a largest difference is within the contract for outputs of that scale."""
        return difference <= self.relative * max(1.0, scale)
