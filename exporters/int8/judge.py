"""How far an 8-bit variant is from the float network, at every level, on real inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.int8.samples import pieces
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.nested_format.library import library_path
from elsa_edge.proof.comparing import same_answers
from elsa_edge.running import onnx_session
from elsa_edge.running.onnx_session import Settings, options_for

__all__ = ["LARGEST_TOLERANCE", "Judgement", "judge", "open_session"]

LARGEST_TOLERANCE: Final = 0.25  # relative to the largest output; beyond this it is not the same network

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One level.

    Attributes:
        difference: Largest difference of an output over the largest of that output.
        agreement: Share of answers, largest entries along the classes, that stayed; 1 where no output has classes.
        answers: How many there are.
    """

    difference: float
    agreement: float
    answers: int = 0


def open_session(model: Path | bytes, threads: int = 1) -> Any:
    """Open a network, with our kernels where they are compiled."""
    library = library_path()
    options = options_for(Settings(threads=threads), libraries=() if library is None else (library,))
    return onnx_session.open_session(model, options)


def judge(
    file: Path, models: Sequence[ir.Model], samples: Mapping[str, Array], axes: Mapping[str, int]
) -> list[Judgement]:
    """Compare every level of a variant with the float networks.

    Args:
        file: The variant, with a level input.
        models: The float network of each level.
        samples: Inputs.
        axes: Output name -> axis of its classes, for those that have any; the same as `verify` looks at.
    """
    session = open_session(file)
    return [
        _compare(
            _run(session, samples, {LEVEL_INPUT: np.array(level, np.int64)}),
            _run(open_session(ir.to_proto(model).SerializeToString()), samples, {}),
            axes,
        )
        for level, model in enumerate(models)
    ]


def _run(session: Any, samples: Mapping[str, Array], more: Mapping[str, Array]) -> dict[str, Array]:
    names = [output.name for output in session.get_outputs()]
    parts: list[list[Array]] = [session.run(names, feed | dict(more)) for feed in pieces(samples, session)]
    return {name: np.concatenate([np.atleast_1d(part[i]) for part in parts]) for i, name in enumerate(names)}


def _compare(found: Mapping[str, Array], expected: Mapping[str, Array], axes: Mapping[str, int]) -> Judgement:
    difference = 0.0
    for name, value in expected.items():
        scale = float(np.abs(value).max(initial=0.0))
        gap = float(np.abs(found[name].astype(np.float64) - value).max(initial=0.0))
        difference = max(difference, gap / scale if scale > 0 else gap)
    same, answers = same_answers(found, expected, axes)
    return Judgement(difference, same / answers if answers else 1.0, answers)
