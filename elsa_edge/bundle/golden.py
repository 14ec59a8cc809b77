"""Golden inputs and outputs: what the oracle answered, so that a device can check itself."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import BundleError, first_line
from elsa_edge.files import atomic_file
from elsa_edge.proof.tolerance import Tolerance
from elsa_edge.tensors import largest_difference

__all__ = ["FILE_NAME", "LARGEST_BYTES", "Golden", "Tolerance", "largest_difference"]

FILE_NAME: Final = "golden.npz"
# Unpacked: a hostile archive of a few kilobytes could otherwise fill a device's memory.
LARGEST_BYTES: Final = 1 << 30
_INPUT: Final = "input/"
_OUTPUT: Final = "output/"
_FURTHER: Final = "further/"
_MOST_BATCHES: Final = 8  # each is run at every level of every variant
_MOST_ENTRIES: Final = 100_000  # 255 levels of 40 outputs in every batch
_ENTRY: Final = re.compile(
    rf"({_FURTHER}(?P<place>[0-9]+)/)?({_INPUT}|{_OUTPUT}(?P<level>[0-9]+)/).*", re.DOTALL | re.ASCII
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Golden:
    """Inputs of one batch and the canonical graph's outputs at every level. The arrays cannot be written to.

    Attributes:
        inputs: Input name -> array, batch first.
        outputs: One mapping per level, sparsest first: output name -> array.
        further: The same for other batch sizes, and for inputs without which a class or flag would never move.
    """

    inputs: Mapping[str, Array]
    outputs: tuple[Mapping[str, Array], ...]
    further: tuple[Golden, ...] = ()

    def __post_init__(self) -> None:
        # What everybody is compared with: an exporter that scales its inputs in place would change it for all others.
        object.__setattr__(self, "inputs", _sealed(self.inputs))
        object.__setattr__(self, "outputs", tuple(_sealed(level) for level in self.outputs))

    @property
    def batches(self) -> tuple[Golden, ...]:
        """All batch sizes."""
        return (self, *self.further)

    def _arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {_INPUT + name: array for name, array in self.inputs.items()}
        for level, outputs in enumerate(self.outputs):
            arrays |= {f"{_OUTPUT}{level}/{name}": array for name, array in outputs.items()}
        return arrays

    def save(self, path: Path) -> None:
        """Write an `.npz` atomically: `input/NAME` and `output/LEVEL/NAME`; other batches below `further/K/`."""
        # numpy < 2 would store its keyword allow_pickle=False as an array: object arrays are refused here.
        arrays = self._arrays()
        for place, batch in enumerate(self.further):
            arrays |= {f"{_FURTHER}{place}/{name}": array for name, array in batch._arrays().items()}  # noqa: SLF001 - one of us
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
                entries = archive.namelist()
            if size_bytes > LARGEST_BYTES:
                raise BundleError(
                    f"The golden file {path.name} is too large",
                    expected=f"at most {LARGEST_BYTES} bytes",
                    found=size_bytes,
                    fix="A handful of samples is enough",
                )
            batches_of(entries, path.name, level_count)
            with np.load(path, allow_pickle=False) as loaded:
                arrays = {name: loaded[name] for name in loaded.files}
        except BundleError:
            raise
        except (
            Exception
        ) as error:  # zipfile, zlib and numpy's parser of headers raise a dozen unrelated classes
            raise BundleError(f"The golden file {path.name} cannot be read ({first_line(error)})") from error
        strange = [name for name, array in arrays.items() if array.dtype.kind not in "fiub"]
        if strange:
            raise BundleError(
                f"The golden file {path.name} is not one of ours",
                expected="real numbers",
                found=f"{arrays[strange[0]].dtype} in {strange[0]}",
            )
        whole = _from_arrays(arrays, "", level_count)
        count = batches_of(arrays, path.name, level_count)
        further = [_from_arrays(arrays, f"{_FURTHER}{k}/", level_count) for k in range(count)]
        batches = (whole, *further)
        names = [(set(g.inputs), *(set(o) for o in g.outputs)) for g in batches]
        if not whole.inputs or not all(whole.outputs) or any(other != names[0] for other in names):
            raise BundleError(
                f"The golden file {path.name} is incomplete", expected=f"outputs of {level_count} levels"
            )
        return cls(whole.inputs, whole.outputs, tuple(further))


def batches_of(entries: Iterable[str], file: str, level_count: int) -> int:
    """Return how many further batches a golden file has, by the names of its entries alone: before it is unpacked.

    Raises:
        BundleError: When there are names that none of ours has, too many of them, or some are missing.
    """
    names = [name.removesuffix(".npy") for name in entries]
    found = [match for match in map(_ENTRY.fullmatch, names[:_MOST_ENTRIES]) if match]
    places = {match["place"] for match in found} - {None}
    if len(found) != len(names) or not places <= {str(k) for k in range(min(len(places), _MOST_BATCHES))}:
        known = {match.string for match in found}
        odd = next((name for name in names if name not in known), f"{len(places)} further batches")
        raise BundleError(
            f"The golden file {file} is not one of ours",
            expected=f"inputs and outputs of one batch and at most {_MOST_BATCHES} further ones, numbered from 0",
            found=f"{odd[:100]!r}, {len(names)} entries in all",
        )
    parts = {(match["place"], match["level"]) for match in found}
    wanted = {(place, level) for place in (None, *places) for level in (None, *map(str, range(level_count)))}
    if not wanted <= parts:
        raise BundleError(
            f"The golden file {file} is incomplete", expected=f"inputs and outputs of {level_count} levels"
        )
    return len(places)


def _sealed(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return views of arrays through which nothing can be written."""
    views = {name: np.asarray(array).view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def _from_arrays(arrays: Mapping[str, Array], prefix: str, level_count: int) -> Golden:
    def below(start: str) -> dict[str, Array]:
        return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}

    outputs = (below(f"{prefix}{_OUTPUT}{level}/") for level in range(level_count))
    return Golden(below(prefix + _INPUT), tuple(outputs))
