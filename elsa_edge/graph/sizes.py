"""Which sizes of the inputs are free, and the numbers at which a graph is traced and proved.

    1x3xHxW   1 is the batch, H and W are free        2xE   2 stays, E is free        LxNxC   N is the batch

An input without letters has the batch in front where all such inputs agree on that number, or where it is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from elsa_edge.errors import InputError, UsageError
from elsa_edge.tensors import BATCH, TensorSpec

__all__ = ["RealInputs", "Sizes", "fixed_batch", "free_sizes", "trial_sizes", "with_batch"]

# First numbers of the free sizes, in the order in which they are tried: images and text, small things, audio.
_FIRST: Final = (64, 16, 224, 8, 512, 1024, 4096, 16000, 4)

Sizes = Mapping[str, int]


def with_batch(
    inputs: Sequence[TensorSpec], examples: Mapping[str, np.ndarray[Any, Any]] | None = None
) -> tuple[list[TensorSpec], int]:
    """Say for each input which dimension is the batch, and make it free.

    Args:
        inputs: As the user wrote them; each free size has a name.
        examples: Real inputs by name: where one has another size than was written, there is the batch.

    Returns:
        The inputs, each with its `sizes`, and the batch size that the user wrote (1 where none was).
    """
    # A shape without letters has only numbers.
    firsts = {spec.shape[0] or 1 for spec in inputs if not spec.sizes and spec.shape}
    number = firsts.pop() if len(firsts) == 1 else 1
    marked = []
    for spec in inputs:
        names = list(spec.sizes or (None,) * len(spec.shape))
        if BATCH not in names:
            axis = _batch_axis(spec, number, (examples or {}).get(spec.name))
            if axis is not None:
                names[axis] = BATCH
        shape = tuple(
            None if name is not None else size for name, size in zip(names, spec.shape, strict=True)
        )
        marked.append(replace(spec, shape=shape, sizes=tuple(names)))
    return marked, number


def _batch_axis(spec: TensorSpec, number: int, example: np.ndarray[Any, Any] | None) -> int | None:
    if example is not None and example.ndim == len(spec.shape):
        pairs = zip(spec.shape, example.shape, strict=True)
        other = [axis for axis, (size, real) in enumerate(pairs) if size is not None and size != real]
        if len(other) == 1:
            return other[0]
    first = spec.shape[0] if spec.shape else None
    return 0 if first == (1 if spec.sizes else number) and first is not None else None


def fixed_batch(inputs: Sequence[TensorSpec], batch: int) -> list[TensorSpec]:
    """Return the inputs with the batch as a fixed number; other free sizes stay free."""
    return [
        replace(
            spec,
            shape=tuple(
                batch if name == BATCH else n for n, name in zip(spec.shape, spec.sizes, strict=True)
            ),
            sizes=tuple(None if name == BATCH else name for name in spec.sizes),
        )
        for spec in inputs
    ]


def free_sizes(inputs: Sequence[TensorSpec]) -> list[str]:
    """Return the names of the free sizes but the batch, in order of appearance."""
    return list(dict.fromkeys(n for spec in inputs for n in spec.sizes if n not in (None, BATCH)))


def trial_sizes(names: Sequence[str], told: Mapping[str, Sequence[int]]) -> Iterator[list[dict[str, int]]]:
    """Yield lists of numbers for the free sizes: the first of a list to trace with, the others to prove with.

    Args:
        names: The free sizes.
        told: Name -> numbers that the user gave; then only those are yielded for it.

    Raises:
        UsageError: When a name is no free size of the inputs.
    """
    for name in told:
        if name not in names:
            raise UsageError(
                f"No input has a free size {name!r}",
                allowed=names,
                fix="Write it into --input-shape, such as 1x3xHxW",
            )
    seen = []
    for first in _FIRST:
        step = 32 if first >= 64 else max(1, first // 2)
        rows: list[dict[str, int]] = []
        for base in (first, 2 * first, first // 2):
            row = {name: base + step * place for place, name in enumerate(names)}
            rows.append(
                row | {name: numbers[min(len(rows), len(numbers) - 1)] for name, numbers in told.items()}
            )
        for place in range(len(rows), max(map(len, told.values()), default=0)):
            rows.append(
                rows[0] | {name: numbers[min(place, len(numbers) - 1)] for name, numbers in told.items()}
            )
        unique = [row for place, row in enumerate(rows) if row not in rows[:place]]
        if unique not in seen:
            seen.append(unique)
            yield unique


@dataclass(frozen=True)
class RealInputs:
    """Inputs that the user gave, cut or repeated to a number of samples.

    Attributes:
        inputs: With their batch said.
        arrays: Name -> array.
    """

    inputs: Sequence[TensorSpec]
    arrays: Mapping[str, np.ndarray[Any, Any]]

    def samples(self, batch: int) -> dict[str, np.ndarray[Any, Any]]:
        """Return the first `batch` samples, repeated where there are fewer."""
        return {
            spec.name: self.arrays[spec.name]
            if spec.batch_axis is None
            else np.take(self.arrays[spec.name], range(batch), axis=spec.batch_axis, mode="wrap")
            for spec in self.inputs
        }

    def check(self) -> None:
        """Refuse arrays of other names, types or shapes than the inputs'.

        Raises:
            InputError: Naming the first that does not fit.
        """
        from elsa_edge.tensors import check_inputs

        check_inputs({spec.name: spec for spec in self.inputs}, self.arrays)
        counts = {
            self.arrays[spec.name].shape[spec.batch_axis]
            for spec in self.inputs
            if spec.batch_axis is not None
        }
        if len(counts) > 1 or 0 in counts:
            raise InputError("The inputs hold different numbers of samples", found=sorted(counts))
