"""Try inputs one after the other and keep those on which the network says most."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ElsaError, InputError, first_line
from elsa_edge.proof.information import Answers, Silence, ToleranceOf, silences
from elsa_edge.proof.making import Candidate
from elsa_edge.proof.parts import still_parts
from elsa_edge.tensors import is_number

__all__ = ["Trial", "most_telling"]

Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Array]], Answers]
_MOST_TELLING: Final = 3  # candidates, of which a part stands still; each costs runs at every level


@dataclass(frozen=True, slots=True)
class Trial:
    """Inputs that were run.

    Attributes:
        kind: How they were made.
        inputs: Input name -> array.
        answers: Outputs at every level.
        silent: Outputs that say nothing.
        finite: Share of finite numbers in the output that has fewest.
        still: A sentence for each output of which a part is the same for all inputs.
        others: Other inputs with their answers, by which was seen what moves.
    """

    kind: str
    inputs: Mapping[str, Array]
    answers: Answers
    silent: tuple[Silence, ...]
    finite: float = 1.0
    still: tuple[str, ...] = ()
    others: tuple[tuple[Mapping[str, Array], Answers], ...] = ()


def most_telling(
    candidates: Iterable[Candidate],
    run: Run,
    depending: Collection[str],
    tolerance_of: ToleranceOf,
    *,
    advice: str,
) -> Trial:
    """Return the first candidate on which every output is finite and tells something at every level, else the best.

    Where only a part of an output stands still, a few candidates more are tried, one of which may move it.

    Args:
        candidates: Inputs to try.
        run: Runs the network at every level; what it raises means that it does not take the inputs.
        depending: Outputs that are computed from inputs.
        tolerance_of: What a comparison of an output at a level forgives.
        advice: What to do when it takes none of them.

    Raises:
        InputError: When the network runs on none.
    """
    best: Trial | None = None
    reason = ""
    kinds: list[str] = []
    telling_so_far = 0
    for candidate in candidates:
        kinds.append(candidate.kind)
        try:
            answers = run(candidate.inputs)
        except ElsaError:
            raise
        except Exception as error:  # noqa: BLE001 - a runtime's errors have no common class
            reason = reason or first_line(error)
            continue
        others = _answered(candidate.others, run)
        silent = silences(answers, _answers_of(others), depending, tolerance_of)
        further = candidate.further()
        while silent and all(silence.whole for silence in silent):  # a class, a flag: these change seldom
            more = _answered(islice(further, 1), run)
            if not more:
                break
            others += more
            again = silences(answers, _answers_of(more), depending, tolerance_of)
            silent = [silence for silence in silent if silence in again]
        still = still_parts(answers, _answers_of(others), depending)
        trial = Trial(
            candidate.kind,
            candidate.inputs,
            answers,
            tuple(silent),
            _finite(answers, depending),
            tuple(still),
            tuple(others),
        )
        telling = not silent and trial.finite == 1.0
        if telling and not still:
            return trial
        telling_so_far += telling
        if best is None or _rank(trial) < _rank(best):
            best = trial
        if telling_so_far == _MOST_TELLING:
            break
    if best is None:
        raise InputError(
            f"The network does not run on the {' or '.join(dict.fromkeys(kinds))} inputs ({reason})",
            fix=advice[:1].upper() + advice[1:],
        )
    return best


def _answered(
    variations: Iterable[Mapping[str, Array]], run: Run
) -> list[tuple[Mapping[str, Array], Answers]]:
    found = []
    for inputs in variations:
        try:
            found.append((inputs, run(inputs)))
        except ElsaError:
            raise
        except Exception:  # noqa: BLE001, S112 - a variation that the network does not take is no evidence
            continue
    return found


def _answers_of(others: Sequence[tuple[Mapping[str, Array], Answers]]) -> list[Answers]:
    return [answers for _, answers in others]


def _finite(answers: Answers, depending: Collection[str]) -> float:
    shares = [
        float(np.mean(is_number(array)))
        for outputs in answers
        for name, array in outputs.items()
        if name in depending and array.size
    ]
    return min(shares, default=1.0)


def _rank(trial: Trial) -> tuple[int, int, float, int]:
    """Order trials: the fewest silences of floats, then of whole numbers, the most finite places, the fewest still."""
    floats = sum(not silence.whole for silence in trial.silent)
    return floats, len(trial.silent) - floats, -trial.finite, len(trial.still)
