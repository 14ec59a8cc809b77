"""Inputs for a proof: made up in several ways, or taken from real ones; always with another input to compare with.

A network that begins with a logarithm answers NaN to half of all normal numbers, one that looks words up needs numbers
below its vocabulary, one that thresholds may answer zeros. So there are several kinds, tried in this order:

    normal       multiples of 1/8;                      whole numbers 0, 1, or below the vocabulary
    positive     1/8 .. 3                               whole numbers from 1
    image-like   smooth, brightness of its own, (0, 1)  whole numbers below 10
    wide         normal * 16                            whole numbers below the vocabulary
    bytes        0 .. 255                               whole numbers from 1 to 9

Floats are coarse on purpose: they compress to a fifth, bundles stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.tensors import TensorSpec

__all__ = ["KINDS", "Candidate", "Range", "given", "made", "made_up", "sizes_unlike"]

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Range = tuple[int, int]  # smallest and largest whole number, both included

_STEP: Final = 0.125
_LARGEST_WHOLE: Final = 127  # small files; a vocabulary is sampled, not walked
_SEEDS: Final = 2
_FURTHER: Final = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """Inputs for a proof, and other inputs that should be answered otherwise.

    Attributes:
        kind: How they were made, for people.
        inputs: Input name -> array.
        others: Further inputs of the same shapes.
        further: Makes still more of them, for outputs that change seldom: a class, a flag.
    """

    kind: str
    inputs: Mapping[str, Array]
    others: tuple[Mapping[str, Array], ...]
    further: Callable[[], Iterator[Mapping[str, Array]]] = lambda: iter(())


def _shape(spec: TensorSpec, batch: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    names = spec.sizes or (None,) * len(spec.shape)
    return tuple(
        size if size is not None else (batch if axis == spec.batch_axis else sizes.get(name or "", 1))
        for axis, (size, name) in enumerate(zip(spec.shape, names, strict=True))
    )


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.round(generator.standard_normal(shape) / _STEP) * _STEP


def _positive(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.integers(1, 25, shape) * _STEP


def _image(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random values of a coarse grid of at most 4 x 4, spread over the last two axes; each sample has its own level."""
    grid = tuple(min(size, 4) if axis >= len(shape) - 2 and axis else size for axis, size in enumerate(shape))
    values = generator.integers(1, 9, grid) + generator.integers(0, 8, (*shape[:1], *(1,) * (len(shape) - 1)))
    for axis, size in enumerate(shape):
        values = np.take(values, np.arange(size) * values.shape[axis] // max(size, 1), axis)
    return np.asarray(values / 16.0)


def _wide(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return _normal(generator, shape) * 16.0


def _bytes(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.integers(0, 256, shape).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Kind:
    floats: Callable[[np.random.Generator, tuple[int, ...]], Array]
    lowest: int
    highest: int | None  # None: below the vocabulary, or 0 and 1 where that is unknown


KINDS: Final[Mapping[str, _Kind]] = {
    "normal": _Kind(_normal, 0, None),
    "positive": _Kind(_positive, 1, 2),
    "image-like": _Kind(_image, 0, 9),
    "wide": _Kind(_wide, 0, None),
    "bytes": _Kind(_bytes, 1, 9),
}


def _whole(generator: np.random.Generator, shape: tuple[int, ...], kind: _Kind, known: Range | None) -> Array:
    low, high = kind.lowest, kind.highest if kind.highest is not None else 1
    if known is not None:
        low = max(known[0], min(low, known[1]))
        high = min(known[1], _LARGEST_WHOLE + known[0])
    return generator.integers(low, max(low, high) + 1, shape)


def made(
    specs: Mapping[str, TensorSpec],
    batch: int,
    *,
    kind: str = "normal",
    ranges: Mapping[str, Range] | None = None,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> Arrays:
    """Make reproducible inputs.

    Args:
        specs: The network's inputs; the batch of each gets `batch` entries.
        batch: Samples.
        kind: One of `KINDS`.
        ranges: Input name -> whole numbers that it may hold, where that is known.
        seed: Of the generator.
        sizes: Numbers of the other free sizes, by name; 1 for those without.
    """
    generator = np.random.default_rng(seed)
    way = KINDS[kind]
    arrays = {}
    for name, spec in specs.items():
        shape = _shape(spec, batch, sizes or {})
        if spec.dtype.startswith("float"):
            values = way.floats(generator, shape)
        elif spec.dtype == "bool":
            values = generator.integers(0, 2, shape)
        else:
            values = _whole(generator, shape, way, (ranges or {}).get(name))
        arrays[name] = np.asarray(values).astype(spec.dtype)
    return arrays


def made_up(
    specs: Mapping[str, TensorSpec],
    batch: int,
    ranges: Mapping[str, Range] | None = None,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> Iterator[Candidate]:
    """Yield inputs of every kind, the plain one first, each with another of its kind."""

    def one(kind: str, number: int) -> Arrays:
        return made(specs, batch, kind=kind, ranges=ranges, seed=seed + number, sizes=sizes)

    def more(kind: str) -> Iterator[Arrays]:
        return (one(kind, 2 * _SEEDS + number) for number in range(_FURTHER))

    for turn in range(_SEEDS):
        for kind in KINDS:
            yield Candidate(kind, one(kind, 2 * turn), (one(kind, 2 * turn + 1),), partial(more, kind))


def given(specs: Mapping[str, TensorSpec], inputs: Mapping[str, Array]) -> Candidate:
    """Return real inputs with variations of themselves.

    Samples in other places, floats halved, axes turned round, whole numbers drawn anew from those that are there.

    Which of these a network can run is found out by running it.
    """

    def turned(array: Array, axis: int | None) -> Array:
        return array if axis is None or array.shape[axis] < 2 else np.roll(array, 1, axis)

    rolled = {name: turned(array, specs[name].batch_axis) for name, array in inputs.items()}
    halved = {
        name: (array * 0.5).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in inputs.items()
    }
    flipped = {name: array[..., ::-1].copy() if array.ndim else array for name, array in inputs.items()}
    generator = np.random.default_rng(0)
    drawn = {
        name: generator.choice(array.reshape(-1), array.shape)
        if array.dtype.kind in "iu" and array.size
        else array
        for name, array in inputs.items()
    }
    others = [rolled, halved, flipped]
    if any(drawn[name] is not array for name, array in inputs.items()):
        others.append(drawn)
    return Candidate("given", dict(inputs), tuple(others))


def sizes_unlike(count: int, frozen: set[int]) -> list[int]:
    """Return `count` small batch sizes above one, none of them in `frozen`."""
    sizes: list[int] = []
    size = 2
    while len(sizes) < count:
        if size not in frozen:
            sizes.append(size)
        size += 1
    return sizes
