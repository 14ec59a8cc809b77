"""What a caller asks of an export, put into one form or refused before anything is traced.

    (None, 3, None, None)  of input x  ->  sizes ("batch", None, "x_2", "x_3")

The command line cannot write most of what is refused here; a program can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elsa_edge.errors import InputError, UnknownNameError, UsageError
from elsa_edge.tensors import BATCH, DTYPES, TensorSpec

__all__ = ["checked_batch", "checked_examples", "checked_inputs", "checked_names", "checked_sizes"]


def checked_inputs(inputs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Return inputs of which each free size has a name.

    The first free size of an input that names none is the batch; the others are called after the input and the axis.

    Raises:
        UsageError: When something is no input, two have one name, or shape and sizes do not fit together.
        UnknownNameError: When a type is none of `DTYPES`.
    """
    given: Any = inputs  # of programs that nobody has type-checked
    if not isinstance(given, Sequence) or not all(isinstance(spec, TensorSpec) for spec in given):
        raise UsageError(
            "The inputs of a network are a list of TensorSpec",
            found=repr(inputs),
            fix='Write [TensorSpec("x", (1, 3, 32, 32))] or parse_inputs(["x=1x3x32x32"])',
        )
    names = [spec.name for spec in inputs if spec.name]
    if len(set(names)) != len(names):
        raise UsageError("Two inputs have the same name", found=", ".join(names))
    return [_checked(spec) for spec in inputs]


def _checked(spec: TensorSpec) -> TensorSpec:
    label = f"Input {spec.name}" if spec.name else "An input"
    if spec.dtype not in DTYPES:
        raise UnknownNameError("input type", str(spec.dtype), DTYPES)
    if not all(size is None or _is_count(size) for size in spec.shape):
        raise UsageError(
            f"{label} has a size that is no size",
            expected="whole numbers of at least 1, and None where any size is allowed",
            found=str(tuple(spec.shape)),
        )
    if not any(spec.sizes) and None not in spec.shape:
        return replace(spec, sizes=())
    sizes = spec.sizes or (None,) * len(spec.shape)
    if len(sizes) != len(spec.shape):
        raise UsageError(
            f"{label} names other sizes than it has",
            expected=f"one name or None for each of {len(spec.shape)} dimensions",
            found=str(tuple(spec.sizes)),
        )
    first = spec.shape.index(None) if not any(sizes) else -1
    named = tuple(
        name or (None if size is not None else BATCH if axis == first else f"{spec.name or 'size'}_{axis}")
        for axis, (size, name) in enumerate(zip(spec.shape, sizes, strict=True))
    )
    free = [name for name in named if name is not None]
    if len(set(free)) != len(free):
        raise UsageError("A free size appears twice in one shape", found=", ".join(free))
    return replace(spec, sizes=named)


def checked_batch(batch: int | None) -> int | None:
    """Return a batch size.

    Raises:
        UsageError: When it is no whole number of at least 1.
    """
    if batch is not None and not _is_count(batch):
        raise UsageError(
            "A batch has no such size",
            expected="a whole number of at least 1, or None for a free batch",
            found=repr(batch),
        )
    return batch


def checked_sizes(sizes: Mapping[str, Sequence[int]] | None) -> dict[str, Sequence[int]]:
    """Return the numbers to prove free sizes at, by name.

    Raises:
        UsageError: When a name has none, or one that torch would take as fixed (0 and 1).
    """
    given: Mapping[str, Any] = sizes or {}
    for name, numbers in given.items():
        listed = isinstance(numbers, Sequence) and not isinstance(numbers, str)
        if not listed or not numbers or not all(_is_count(number) and number > 1 for number in numbers):
            raise UsageError(
                f"The free size {name!r} needs numbers to be proved at",
                expected="whole numbers of at least 2, such as [8, 32]",
                found=repr(numbers),
            )
    return dict(sizes or {})


def checked_names(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted outputs; a single name may stand alone."""
    return (outputs,) if isinstance(outputs, str) else tuple(outputs)


def checked_examples(
    examples: Mapping[str, np.ndarray[Any, Any]] | None,
) -> dict[str, np.ndarray[Any, Any]] | None:
    """Return real inputs as arrays.

    Raises:
        InputError: When they are not given by name.
    """
    if examples is None:
        return None
    if not isinstance(examples, Mapping):
        raise InputError(
            "Inputs are given by name", expected="{'x': array, ...}", found=type(examples).__name__
        )
    return {str(name): np.asarray(array) for name, array in examples.items()}


def _is_count(size: object) -> bool:
    """Tell whether something is a whole number of at least 1, and not a truth value."""
    return isinstance(size, (int, np.integer)) and not isinstance(size, bool) and int(size) >= 1
