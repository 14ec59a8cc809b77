"""What goes in and out of a network: names, shapes, types; the check that inputs fit; the distance between outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import InputError, UnknownNameError, UsageError, closest

__all__ = [
    "BATCH",
    "DTYPES",
    "FROM_NHWC",
    "TO_NHWC",
    "TensorSpec",
    "check_inputs",
    "is_number",
    "largest_difference",
    "parse_inputs",
]

DTYPES: Final = ("float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool")
# Orders of the axes of images, for `transpose`.
TO_NHWC: Final = (0, 2, 3, 1)
FROM_NHWC: Final = (0, 3, 1, 2)
BATCH: Final = "batch"  # what the free size is called along which samples are stacked
_INPUT = re.compile(
    r"(?:(?P<name>[^=]+)=)?(?P<shape>(?:\d+|[A-Z][A-Z0-9_]*)(?:x(?:\d+|[A-Z][A-Z0-9_]*))*)(?::(?P<dtype>\w+))?"
)
_BATCH_LETTER: Final = "N"
# What networks write where they mean infinity (a masked score is often the smallest float32).
_LIKE_INFINITY: Final = 1e30


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a network.

    Attributes:
        name: Its name in the graph.
        shape: One entry per dimension; None where any size is allowed (the batch, usually first).
        dtype: A numpy type name from `DTYPES`.
        sizes: What the free sizes are called, None for fixed ones: `("batch", None, "S")`; empty where nobody has said.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    sizes: tuple[str | None, ...] = field(default=(), compare=False)

    @property
    def batch_axis(self) -> int | None:
        """The dimension along which samples are stacked; None where there is none.

        Where no free size has a name, it is the first free one.
        """
        if any(self.sizes):
            return self.sizes.index(BATCH) if BATCH in self.sizes else None
        return next((axis for axis, size in enumerate(self.shape) if size is None), None)

    def agrees(self, other: TensorSpec) -> bool:
        """Tell whether both can be the same tensor: name, type and each size that both know."""
        if (self.name, self.dtype, len(self.shape)) != (other.name, other.dtype, len(other.shape)):
            return False
        return all(
            None in sizes or len(set(sizes)) == 1 for sizes in zip(self.shape, other.shape, strict=True)
        )

    @classmethod
    def parse(cls, text: str) -> TensorSpec:
        """Read the command-line form `[NAME=]SHAPE[:DTYPE]`, such as `1x3x224x224` or `tokens=1xS:int64`.

        A capital letter (or word) is a size that stays free; N is the batch. Without a name the name is empty: the
        input is then called as the argument of the network that it feeds.
        """
        match = _INPUT.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                "An input shape is not readable",
                expected="[NAME=]SHAPE[:DTYPE] such as 1x3x224x224 or tokens=1xS:int64 (capitals are free sizes)",
                found=repr(text),
            )
        dtype = match["dtype"] or "float32"
        if dtype not in DTYPES:
            raise UnknownNameError("input type", dtype, DTYPES)
        parts = match["shape"].split("x")
        shape = tuple(int(part) if part.isdigit() else None for part in parts)
        if any(size is not None and size < 1 for size in shape):
            raise UsageError("Every dimension of an input must be at least 1", found=repr(text))
        letters = [part for part in parts if not part.isdigit()]
        if len(set(letters)) != len(letters):
            raise UsageError("A free size appears twice in one shape", found=repr(text))
        names = {_BATCH_LETTER: BATCH}
        sizes = tuple(None if part.isdigit() else names.get(part, part) for part in parts)
        return cls(match["name"] or "", shape, dtype, sizes if letters else ())

    def __str__(self) -> str:
        names = self.sizes or (None,) * len(self.shape)
        shape = "x".join(
            str(size) if size is not None else ("?" if name in (None, BATCH) else str(name))
            for size, name in zip(self.shape, names, strict=True)
        )
        return f"{self.name or '(unnamed)'}: {shape or 'scalar'} {self.dtype}"


def parse_inputs(texts: Sequence[str]) -> list[TensorSpec]:
    """Read several inputs in command-line form; one without a name has an empty one.

    Raises:
        UsageError: When one is not readable, or two have the same name.
    """
    specs = [TensorSpec.parse(text) for text in texts]
    names = [spec.name for spec in specs if spec.name]
    if len(set(names)) != len(names):
        raise UsageError("Two inputs have the same name", found=", ".join(names))
    return specs


def check_inputs(
    specs: Mapping[str, TensorSpec], given: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs as contiguous arrays when names, types and shapes fit the network.

    Raises:
        InputError: Naming the first input that does not fit, what was expected and what was found.
    """
    if not isinstance(given, Mapping):
        raise InputError(
            "Inputs are given by name",
            expected="{" + ", ".join(f"{name!r}: array" for name in specs) + "}",
            found=type(given).__name__,
        )
    missing = [name for name in specs if name not in given]
    unknown = [name for name in given if name not in specs]
    if missing or unknown:
        near = closest(unknown[0], missing or specs) if unknown else None
        raise InputError(
            "The inputs have other names than the network's",
            expected=", ".join(specs),
            found=", ".join(given) or "none",
            fix=f"Nearest to {unknown[0]!r}: {near!r}" if near else None,
        )
    ready: dict[str, npt.NDArray[Any]] = {}
    for name, spec in specs.items():
        array = np.asarray(given[name])
        if array.dtype != np.dtype(spec.dtype):
            raise InputError(f"Input {name} has a wrong type", expected=spec.dtype, found=array.dtype)
        fits = len(array.shape) == len(spec.shape) and all(
            size is None or size == actual for size, actual in zip(spec.shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"Input {name} has a wrong shape", expected=str(spec), found="x".join(map(str, array.shape))
            )
        ready[name] = np.asarray(array, order="C")  # ascontiguousarray would make a scalar 1-D
    return ready


def is_number(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return where an array holds a number that means one: not NaN, not infinite, not a stand-in for infinity."""
    if array.dtype.kind != "f":
        return np.ones(array.shape, bool)
    limit = min(_LIKE_INFINITY, float(np.finfo(array.dtype).max))  # half floats end before
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(array) < array.dtype.type(limit))


def largest_difference(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the largest absolute difference and the largest absolute expected value, both over real numbers.

    NaN in the same place counts as equal, and so does infinity of the same sign; numbers beyond 1e30 stand for
    infinity. Anywhere else the difference is infinite, and so it is when the shapes differ. Equal NaNs prove nothing:
    see `elsa_edge.proof.information`.
    """
    if found.shape != expected.shape:
        return float("inf"), 0.0
    a, b = found.astype(np.float64), expected.astype(np.float64)
    numbers = is_number(a) & is_number(b)
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    infinite = ~(is_number(a) | nan_a) & ~(is_number(b) | nan_b) & (np.sign(a) == np.sign(b))
    scale = float(np.max(np.abs(b[is_number(b)]), initial=0.0))
    if not np.all(numbers | (nan_a & nan_b) | infinite):
        return float("inf"), scale
    return float(np.max(np.abs(a[numbers] - b[numbers]), initial=0.0)), scale
