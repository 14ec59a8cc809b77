"""Levels: several nested sparse networks inside one set of dense weights. Pure numpy.

    mask_k = (level_index <= k)        hence        mask_0 ⊆ mask_1 ⊆ ... by construction

Level 0 is the sparsest. A level index is a uint8 array shaped like its weight: the lowest level at which that weight
is active, or `NEVER` (255) where it is active at none. Source: ELSA, arXiv 2312.06872 (sparse networks embedded in a
dense one as subsets of its weights); the index form is PackNet's ownership mask, arXiv 1711.05769.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json

from elsa_edge.errors import LevelError
from elsa_edge.visible import visible

__all__ = [
    "MAX_LEVELS",
    "NEVER",
    "Ladder",
    "Level",
    "LevelIndex",
    "Mask",
    "active_counts",
    "check_index",
    "densities_by_weight",
    "index_from_masks",
    "index_from_scores",
    "mask_at",
    "measured_densities",
]

NEVER: Final = 255
MAX_LEVELS: Final = 255  # so the last level is 254 and NEVER stays free

LevelIndex: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Level:
    """One nested sub-network.

    Attributes:
        name: Short name, unique in its ladder ("s95", "dense").
        sparsity: Target fraction of zeros among the nested weights, in [0, 1).
        density: Measured fraction of active nested weights, in [0, 1]; None until measured.
        flops_fraction: Multiply-adds of this level over those of the dense network; None until measured.
        accuracy: Task metric of this level in [0, 1]; None until measured.
        accuracy_low: Lower end of its 95 % interval; None where there is none.
        accuracy_high: Upper end.
        samples: How many samples it was measured on; None where nobody has said.
        metric: What it is ("top1", "miou", "mse", "PKG:FUNCTION"); None where nobody has said.

    Example:
        >>> Level("s90", 0.9, density=0.1).density
        0.1
    """

    name: str
    sparsity: float
    density: float | None = None
    flops_fraction: float | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    samples: int | None = None
    metric: str | None = None

    def without_accuracy(self) -> Level:
        """Return the level with its accuracy unknown again: its numbers have changed."""
        return replace(self, accuracy=None, accuracy_low=None, accuracy_high=None, samples=None, metric=None)


def _default_names(sparsities: Sequence[float]) -> list[str]:
    """0.95 -> "s95", 0.955 -> "s95_5", 0.0 -> "dense"; more digits where six do not tell two levels apart."""
    names = ["dense" if s == 0.0 else "s" + f"{s * 100:.6g}".replace(".", "_") for s in sparsities]
    return names if len(set(names)) == len(names) else [f"s{s!r}".replace(".", "_") for s in sparsities]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The ordered levels of one model, sparsest first.

    Raises:
        LevelError: When empty, too long, unordered, with a duplicate, with a sparsity outside [0, 1), or with a name
            that hides a character.

    Example:
        >>> ladder = Ladder.from_sparsities([0.95, 0.9, 0.0])
        >>> [level.name for level in ladder]
        ['s95', 's90', 'dense']
        >>> ladder.check(2)
        2
        >>> Ladder.parse("0.9,0.95")
        Traceback (most recent call last):
        elsa_edge.errors.LevelError: Levels must be ordered from the sparsest to the densest, without duplicates: ...
    """

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        sparsities = [level.sparsity for level in self.levels]
        shown = ", ".join(f"{s:g}" for s in sparsities)
        if not 1 <= len(sparsities) <= MAX_LEVELS:
            raise LevelError(
                "A ladder needs a sensible number of levels",
                expected=f"1 to {MAX_LEVELS}",
                found=len(sparsities),
            )
        if not all(0.0 <= s < 1.0 for s in sparsities):  # also refuses NaN
            raise LevelError(
                "Level sparsities must lie in [0, 1)",
                found=shown,
                fix="0 is the dense network; 1 would keep no weight",
            )
        if any(a <= b for a, b in pairwise(sparsities)):
            raise LevelError(
                "Levels must be ordered from the sparsest to the densest, without duplicates",
                expected="a falling list such as 0.95,0.9,0",
                found=shown,
            )
        names = [level.name for level in self.levels]
        if len(set(names)) != len(names):
            raise LevelError("Level names must be unique", found=", ".join(names))
        for name in names:
            try:
                visible(name)
            except ValueError as error:
                raise LevelError(f"This is no name for a level ({error})", found=repr(name)) from error

    @classmethod
    def from_sparsities(cls, sparsities: Sequence[float]) -> Ladder:
        """Build a ladder from target sparsities, sparsest first: `[0.95, 0.9, 0.0]`."""
        numbers = [float(s) for s in sparsities]
        return cls(tuple(Level(name, s) for name, s in zip(_default_names(numbers), numbers, strict=True)))

    @classmethod
    def parse(cls, text: str) -> Ladder:
        """Read a ladder from the command-line form `0.95,0.9,0`."""
        try:
            return cls.from_sparsities([float(part) for part in text.split(",")])
        except ValueError as error:
            raise LevelError(
                "Levels must be numbers", expected="sparsities such as 0.95,0.9,0", found=repr(text)
            ) from error

    def __len__(self) -> int:
        return len(self.levels)

    def __iter__(self) -> Iterator[Level]:
        return iter(self.levels)

    def __getitem__(self, index: int) -> Level:
        return self.levels[self.check(index)]

    @property
    def sparsities(self) -> tuple[float, ...]:
        """Target sparsities, sparsest first."""
        return tuple(level.sparsity for level in self.levels)

    def check(self, level: object) -> int:
        """Return `level` when the ladder has it.

        Raises:
            LevelError: When it is not an integer in 0..len-1. Negative numbers never count from the end.
        """
        if (
            isinstance(level, bool)
            or not isinstance(level, (int, np.integer))
            or not 0 <= level < len(self.levels)
        ):
            raise LevelError(
                "This network has no such level",
                expected=f"an integer from 0 (sparsest) to {len(self.levels) - 1} (densest)",
                found=repr(level),
            )
        return int(level)

    def measured(
        self,
        *,
        densities: Sequence[float] | None = None,
        flops_fractions: Sequence[float] | None = None,
        accuracies: Sequence[float] | None = None,
    ) -> Ladder:
        """Return this ladder with measurements filled in; each sequence has one value per level, sparsest first."""
        columns = {"density": densities, "flops_fraction": flops_fractions, "accuracy": accuracies}
        given = {name: values for name, values in columns.items() if values is not None}
        for name, values in given.items():
            if len(values) != len(self):
                raise LevelError(f"One {name} per level is needed", expected=len(self), found=len(values))
        levels = self.levels if accuracies is None else [level.without_accuracy() for level in self.levels]
        return Ladder(
            tuple(
                replace(level, **_floats({name: values[k] for name, values in given.items()}))
                for k, level in enumerate(levels)
            )
        )

    def to_json(self) -> str:
        """Serialise to JSON; the inverse of `from_json`."""
        import json  # where ladders are written; a device, which reads them, may have another json.py beside its script

        return json.dumps(
            {"levels": [asdict(level) for level in self.levels]}, sort_keys=True, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> Ladder:
        """Read a ladder written by `to_json`.

        Raises:
            LevelError: When the text is not a ladder: wrong JSON, unknown or missing fields, wrong types or values.
        """
        try:
            rows = from_json(text)["levels"]
            return cls(tuple(_level_from_row(row) for row in rows))
        except (ValueError, TypeError, KeyError) as error:
            raise LevelError(
                "This is not a ladder",
                expected='{"levels": [{"name": ..., "sparsity": ...}, ...]}',
                found=text[:80],
            ) from error


def _floats(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float(value) for key, value in row.items()}


def _level_from_row(row: Any) -> Level:
    known = {field.name for field in fields(Level)}
    if not isinstance(row, Mapping) or not set(row) <= known or not isinstance(row["name"], str):
        raise TypeError(row)
    metric, samples = row.get("metric"), row.get("samples")
    if not isinstance(metric, (str, type(None))) or (samples is not None and type(samples) is not int):
        raise TypeError(row)
    words = ("name", "metric", "samples")
    numbers = {key: value for key, value in row.items() if key not in words and value is not None}
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in numbers.values()):
        raise TypeError(row)
    for key in ("density", "flops_fraction", "accuracy", "accuracy_low", "accuracy_high"):
        if not 0.0 <= numbers.get(key, 0.0) <= 1.0:
            raise ValueError(row)
    sparsity = float(numbers.pop("sparsity"))
    return Level(
        row["name"],
        sparsity,
        **{key: float(value) for key, value in numbers.items()},
        samples=samples,
        metric=metric,
    )


def mask_at(index: LevelIndex, level: int) -> Mask:
    """Return the boolean mask of `level`, shaped like `index`."""
    mask: Mask = index <= np.uint8(level)  # NEVER is above every level: a ladder has at most 255
    return mask


def index_from_masks(masks: Sequence[Mask]) -> LevelIndex:
    """Build the level index of one weight from its masks, sparsest first, all of the weight's shape.

    Raises:
        LevelError: When the shapes differ or a mask is not contained in the next.
    """
    if not 1 <= len(masks) <= MAX_LEVELS:
        raise LevelError(
            "Masks for a sensible number of levels are needed",
            expected=f"1 to {MAX_LEVELS}",
            found=len(masks),
        )
    index = np.full(masks[0].shape, NEVER, np.uint8)
    for level in reversed(range(len(masks))):
        mask = np.asarray(masks[level], bool)
        if mask.shape != index.shape:
            raise LevelError(
                "Masks of one weight must have one shape", expected=index.shape, found=mask.shape
            )
        lost = int(np.count_nonzero(mask & (index == NEVER))) if level < len(masks) - 1 else 0
        if lost:
            raise LevelError(
                "Masks must be nested: each level contains the sparser one",
                found=f"{lost} weights active at level {level} but not at level {level + 1}",
            )
        index[mask] = level
    return index


def index_from_scores(scores: npt.NDArray[Any], counts: Sequence[int]) -> LevelIndex:
    """Build a level index by keeping the `counts[k]` highest scores at level k.

    Args:
        scores: Importance of each weight, any shape; ties are won by the lower flat position, so the result is exact.
        counts: Active weights at each level, sparsest first, non-decreasing, at most `scores.size`.

    Returns:
        A level index of the shape of `scores`, with exactly `counts[k]` weights active at level k.
    """
    if list(counts) != sorted(counts) or not all(0 <= count <= scores.size for count in counts):
        raise LevelError(
            "Active weights must not fall from level to level nor exceed the weight",
            expected=f"rising counts up to {scores.size}",
            found=list(counts),
        )
    order = np.argsort(-scores.reshape(-1).astype(np.float64), kind="stable")
    flat = np.full(scores.size, NEVER, np.uint8)
    start = 0
    for level, count in enumerate(counts):
        flat[order[start:count]] = level
        start = max(start, count)
    return flat.reshape(scores.shape)


def active_counts(index: LevelIndex, level_count: int) -> npt.NDArray[np.int64]:
    """Return how many weights are active at each level: `(level_count,)`, non-decreasing."""
    histogram = np.bincount(index.reshape(-1), minlength=NEVER + 1)[:level_count]
    return np.cumsum(histogram, dtype=np.int64)


def densities_by_weight(indices: Mapping[str, LevelIndex], level_count: int) -> dict[str, tuple[float, ...]]:
    """Return for each weight the fraction of it that is active at each level."""
    return {
        name: tuple(float(count) / max(index.size, 1) for count in active_counts(index, level_count))
        for name, index in indices.items()
    }


def measured_densities(indices: Mapping[str, LevelIndex], level_count: int) -> tuple[float, ...]:
    """Return the fraction of active nested weights at each level, over all weights in `indices` together."""
    total = sum(index.size for index in indices.values())
    if total == 0:
        return (1.0,) * level_count
    counts = np.sum([active_counts(index, level_count) for index in indices.values()], axis=0)
    return tuple(float(count) / total for count in counts)


def check_index(name: str, index: npt.NDArray[Any], shape: Sequence[int], level_count: int) -> LevelIndex:
    """Return `index` when it is a valid level index for a weight of `shape`.

    Raises:
        LevelError: When type, shape or values are wrong: uint8, the weight's shape, each value 0..level_count-1 or 255.
    """
    if index.dtype != np.uint8:
        raise LevelError(f"The level index of {name} has a wrong type", expected="uint8", found=index.dtype)
    if index.shape != tuple(shape):
        raise LevelError(
            f"The level index of {name} has a wrong shape", expected=tuple(shape), found=index.shape
        )
    strange = np.unique(index[(index >= level_count) & (index != NEVER)])
    if strange.size:
        raise LevelError(
            f"The level index of {name} names levels that are not in the ladder",
            expected=f"0..{level_count - 1} or {NEVER}",
            found=", ".join(map(str, strange[:5])),
        )
    return index.astype(np.uint8, copy=False)
