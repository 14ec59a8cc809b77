"""The oracle: what the canonical graph answers at every level, on stock ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import ContractError, first_line
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.running.onnx_session import open_session, options_for

__all__ = ["open_canonical", "run_canonical", "run_model", "run_model_on"]

Array = npt.NDArray[Any]


def _session(model: ir.Model) -> Any:
    try:
        return open_session(ir.to_proto(model).SerializeToString(), options_for())
    except Exception as error:
        raise ContractError(f"ONNX Runtime does not accept the graph ({first_line(error)})") from error


def open_canonical(graph: CanonicalGraph) -> Callable[[Mapping[str, Array], int], dict[str, Array]]:
    """Return a function (inputs, level) -> output name -> array, for many runs of one graph."""
    session = _session(graph.model)
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array], level: int) -> dict[str, Array]:
        feed = {**inputs, LEVEL_INPUT: np.array(level, np.int64)}
        return dict(zip(names, session.run(names, feed), strict=True))

    return run


def run_canonical(
    graph: CanonicalGraph, inputs: Mapping[str, Array], levels: Sequence[int] | None = None
) -> tuple[dict[str, Array], ...]:
    """Run the graph at the given levels, by default at every one, sparsest first; results map output name -> array."""
    run = open_canonical(graph)
    return tuple(run(inputs, level) for level in (range(len(graph.ladder)) if levels is None else levels))


def run_model(model: ir.Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a model without a level input once."""
    return run_model_on(model, [inputs])[0]


def run_model_on(model: ir.Model, feeds: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Run a model on several feeds; a level, or several, are inputs like others here."""
    session = _session(model)
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, dict(feed)), strict=True)) for feed in feeds]
