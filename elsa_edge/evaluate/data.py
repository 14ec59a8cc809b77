"""Labelled data: which arrays of an `.npz` feed the network, which one is the truth, and the pieces to run it in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import InputError, UnknownNameError
from elsa_edge.inputs import read_arrays, take_samples
from elsa_edge.tensors import TensorSpec, check_inputs

__all__ = ["Labelled", "read_labelled"]

Array = npt.NDArray[Any]
_NAMES: Final = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True)
class Labelled:
    """Samples with their truth.

    Attributes:
        inputs: The network's inputs, a free batch in front of each piece.
        arrays: Input name -> array with all samples.
        labels: The truth, samples first.
        fixed: Number of samples that each inference takes; None where it is free.
    """

    inputs: Mapping[str, TensorSpec]
    arrays: Mapping[str, Array]
    labels: Array
    fixed: int | None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def pieces(self, batch: int) -> Iterator[tuple[dict[str, Array], int, int]]:
        """Yield inputs of one inference, and the samples `start` to `stop` that they hold.

        A network with a fixed batch gets the last samples filled up with the first ones, whose answers do not count.
        """
        size = self.fixed or batch
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            taken = take_samples(self.inputs, self.arrays, start, stop)
            short = size - (stop - start)
            if self.fixed and short:
                filling = {
                    name: np.concatenate([array, np.resize(self.arrays[name][:1], (short, *array.shape[1:]))])
                    for name, array in taken.items()
                }
                taken = filling
            yield taken, start, stop


def read_labelled(path: Path, inputs: Mapping[str, TensorSpec], labels: str | None = None) -> Labelled:
    """Read samples and labels.

    Args:
        path: An `.npz` with an array for each input and one more.
        inputs: The network's inputs.
        labels: Name of the array with the truth; by default the one that is no input, or is called `labels`.

    Raises:
        InputError: When the file is missing or damaged, arrays do not fit, or labels and samples differ in number.
        UnknownNameError: When there is no array of the name that was given for the labels.
    """
    arrays = read_arrays(path)
    truth = _labels_name(path, arrays, inputs, labels)
    given = {name: array for name, array in arrays.items() if name in inputs}
    if len(given) < len(inputs):
        raise InputError(
            f"{path} has other names than the network's inputs",
            expected=", ".join(inputs),
            found=", ".join(arrays),
            fix="Name the arrays after the inputs",
        )
    fixed = _fixed_batch(inputs)
    free = inputs if fixed is None else {name: _freed(spec) for name, spec in inputs.items()}
    ready = check_inputs(free, given)
    counts = {
        array.shape[free[n].batch_axis or 0] for n, array in ready.items() if free[n].batch_axis is not None
    }
    if len(counts) != 1:
        raise InputError("The inputs hold different numbers of samples", found=sorted(counts))
    count = counts.pop()
    if not count:
        raise InputError(f"{path} holds no samples", expected="at least one, better hundreds", found="none")
    for name, array in ready.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            broken = int((~np.isfinite(array).reshape(len(array), -1).all(axis=1)).sum())
            raise InputError(
                f"Input {name} holds NaN or infinities, on which no answer is right or wrong",
                found=f"{broken} of {len(array)} samples",
                fix="Leave them out",
            )
    if arrays[truth].ndim == 0 or len(arrays[truth]) != count:
        raise InputError(
            f"There are not as many labels as samples in {path}",
            expected=f"{count} in {truth!r}",
            found=len(arrays[truth]) if arrays[truth].ndim else "one number",
        )
    return Labelled(free, ready, arrays[truth], fixed)


def _labels_name(
    path: Path, arrays: Mapping[str, Array], inputs: Mapping[str, TensorSpec], wanted: str | None
) -> str:
    others = [name for name in arrays if name not in inputs]
    if wanted is not None:
        if wanted not in arrays:
            raise UnknownNameError(f"array in {path.name}", wanted, others)
        return wanted
    known = [name for name in _NAMES if name in others]
    if len(others) == 1 or known:
        return known[0] if known else others[0]
    raise InputError(
        f"{path} does not say which array holds the labels",
        expected=f"the inputs {', '.join(inputs)} and an array named labels",
        found=", ".join(arrays) or "nothing",
        fix="Name it: --labels NAME" if others else "Add the labels to the file",
    )


def _fixed_batch(inputs: Mapping[str, TensorSpec]) -> int | None:
    """Return how many samples an inference takes where no batch is free: the first size of the inputs."""
    if any(spec.batch_axis is not None for spec in inputs.values()):
        return None
    firsts = {spec.shape[0] for spec in inputs.values() if spec.shape}
    first = firsts.pop() if len(firsts) == 1 else None
    if first is None:
        raise InputError(
            "The network has no batch, so samples cannot be counted",
            found="; ".join(map(str, inputs.values())),
            fix="Evaluate it with a program of your own around AdaptiveSession",
        )
    return first


def _freed(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.name, (None, *spec.shape[1:]), spec.dtype)
