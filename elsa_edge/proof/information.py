"""Whether a comparison of outputs can notice anything: how much they move when the inputs change.

    spread = max |f(x) - f(x')|        x' another input of the same shapes;   an output tells, when
    at least a quarter of it is finite   and   spread >= 10 * what the comparison forgives

NaN equals NaN, a constant equals itself, and both prove nothing: a level that answers the same to everything is no
network any more, and a network that answers NaN was asked the wrong question.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ContractError, InputError
from elsa_edge.proof.tolerance import Tolerance
from elsa_edge.tensors import is_number

__all__ = [
    "LEAST_FINITE",
    "STEPS",
    "Answers",
    "Silence",
    "require_telling",
    "silences",
    "spread",
    "told_apart",
]

Array = npt.NDArray[Any]
Answers = Sequence[Mapping[str, Array]]  # one mapping per level, sparsest first
ToleranceOf = Callable[[str, int], Tolerance]

LEAST_FINITE: Final = 0.25
STEPS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Silence:
    """An output that says nothing at a level.

    Attributes:
        level: Number of the level.
        output: Name of the output.
        finite: Share of finite numbers in it.
        moves: Largest change between the answers to different inputs.
        needed: The change that would have told something.
        whole: Whether it holds whole numbers (a class, a flag), which rightly change seldom.
    """

    level: int
    output: str
    finite: float
    moves: float
    needed: float
    whole: bool

    def __str__(self) -> str:
        if self.finite < LEAST_FINITE:
            return f"{self.output} is finite in {self.finite:.0%} of its places"
        return (
            f"{self.output} moves by {self.moves:.2g} between inputs, {self.needed:.2g} would tell something"
        )


def spread(answer: Array, others: Sequence[Array]) -> float:
    """Return the largest change between an answer and answers to other inputs, over places that are finite in both."""
    moves = 0.0
    a = answer.astype(np.float64)
    for other in others:
        if other.shape != answer.shape:
            return float("inf")  # sizes that follow the values: it certainly depends on them
        b = other.astype(np.float64)
        both = is_number(a) & is_number(b)
        moves = max(moves, float(np.max(np.abs(a[both] - b[both]), initial=0.0)))
    return moves


def told_apart(batches: Sequence[Mapping[str, Array]], axes: Mapping[str, int | None]) -> bool:
    """Tell whether two samples, or two batches of one shape, are answered otherwise.

    Args:
        batches: Outputs of one level, one mapping a batch.
        axes: Output -> the axis of its samples; None where it has none.
    """
    for name, axis in axes.items():
        arrays = [batch[name] for batch in batches]
        ones = arrays if axis is None else [one for array in arrays for one in np.moveaxis(array, axis, 0)]
        alike = [one for one in ones[1:] if one.shape == ones[0].shape]
        if spread(ones[0], alike) > 0.0:
            return True
    return False


def silences(
    answers: Answers, others: Sequence[Answers], depending: Collection[str], tolerance_of: ToleranceOf
) -> list[Silence]:
    """Return every output that depends on the inputs and yet says nothing, level by level.

    Args:
        answers: Outputs at every level.
        others: Outputs at every level for other inputs; one entry an input.
        depending: Outputs that are computed from inputs; the others may be constant.
        tolerance_of: What a comparison of an output at a level forgives.
    """
    found = []
    for level, outputs in enumerate(answers):
        for name, array in outputs.items():
            if name not in depending or array.size == 0:
                continue
            numbers = is_number(array)
            finite = float(np.count_nonzero(numbers)) / array.size
            scale = float(np.max(np.abs(array[numbers].astype(np.float64)), initial=0.0))
            moves = spread(array, [other[level][name] for other in others])
            needed = STEPS * tolerance_of(name, level).limit(scale)
            if finite < LEAST_FINITE or moves == 0.0 or moves < needed:
                found.append(Silence(level, name, finite, moves, needed, array.dtype.kind != "f"))
    return found


def _mute_levels(found: Sequence[Silence], depending: Collection[str]) -> list[int]:
    """Return the levels at which not one output says something."""
    levels = sorted({silence.level for silence in found})
    return [k for k in levels if {s.output for s in found if s.level == k} >= set(depending)]


def require_telling(
    found: Sequence[Silence],
    depending: Collection[str],
    levels: Sequence[str],
    *,
    given: bool,
    advice: str,
) -> list[str]:
    """Return notes on outputs that say nothing where that is bearable.

    Whole numbers may stay as they are while another output tells; so may, with inputs that a person chose, an output
    that says nothing at any level.

    Args:
        found: What `silences` returned.
        depending: Outputs that are computed from inputs.
        levels: Names of the levels, sparsest first.
        given: Whether the inputs were given by a person.
        advice: How to give real inputs, a sentence without its full stop.

    Raises:
        ContractError: When a level is dead: its outputs do not follow the inputs while the densest level's do.
        InputError: When the outputs say nothing on these inputs.
    """
    last = len(levels) - 1
    everywhere = {name for name in depending if len([s for s in found if s.output == name]) == len(levels)}
    mute = set(_mute_levels(found, depending))
    notes = []
    for silence in found:
        alone = silence.level in mute
        whole = silence.whole and not alone
        if whole or (given and silence.output in everywhere and not alone):
            if silence.level == last:
                notes.append(f"{silence.output} is not proved: it is the same for all golden inputs.")
            continue
        if silence.whole and not given:
            raise InputError(
                f"{silence.output} is a whole number, a class or a flag, and stays the same on all made-up inputs at "
                f"level {levels[silence.level]}, so a comparison would prove nothing",
                fix=advice[:1].upper() + advice[1:],
            )
        if silence.finite >= LEAST_FINITE and silence.output not in everywhere and silence.level != last:
            raise ContractError(
                f"Level {levels[silence.level]} does not follow its inputs any more: {silence}",
                expected=f"an output that answers to its inputs, as at level {levels[last]}",
                fix=f"Leave the level out, or cut less or otherwise (another granularity or allocation); {advice}",
            )
        raise InputError(
            f"A comparison on these inputs would prove nothing, at level {levels[silence.level]} {silence}",
            fix=advice[:1].upper() + advice[1:],
        )
    return notes
