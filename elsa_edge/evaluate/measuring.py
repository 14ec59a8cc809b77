"""Run labelled samples through every level and say how accurate each is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import InputError, UnknownNameError, UsageError, first_line
from elsa_edge.evaluate.answers import Answerer
from elsa_edge.evaluate.data import Labelled
from elsa_edge.evaluate.metrics import Figure, metric_named, own_figure
from elsa_edge.progress import told

__all__ = ["Question", "measure_accuracy"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Question:
    """How accuracy is measured.

    Attributes:
        metric: `top1`, `miou`, `mse`, or `PKG:FUNCTION`, which gets outputs and labels and answers a number in [0, 1]
            or one for each sample.
        output: The output that is judged; by default the only one, else the first.
        batch: Samples of one inference.
    """

    metric: str = "top1"
    output: str | None = None
    batch: int = 1


def measure_accuracy(
    answerer: Answerer, data: Labelled, question: Question, tell: Callable[[str], None] | None = None
) -> list[Figure]:
    """Return a figure for each level, sparsest first.

    Args:
        answerer: What runs the levels.
        data: Samples and labels.
        question: The metric.
        tell: Called with a line for each level.

    Raises:
        InputError: When labels do not fit the outputs, or one is no class.
        UnknownNameError: When there is no such metric or output.
        UsageError: When a metric of the user's does not answer one.
    """
    metric = metric_named(question.metric)
    own = None if metric is not None else _own(question.metric)
    figures = []
    for level in range(answerer.levels):
        kept: list[Array] = []
        for feed, start, stop in data.pieces(question.batch):
            outputs = _chosen(answerer.run(feed, level), question.output)[: stop - start]
            labels = data.labels[start:stop]
            kept.append(outputs if metric is None else metric.evidence(outputs, labels))
        joined = np.concatenate(kept)
        if metric is not None:
            figure = metric.figure(joined)
        else:
            assert own is not None
            figure = own_figure(question.metric, own(joined, data.labels), len(data))
        figures.append(figure)
        if tell is not None:
            tell(
                told(f"{answerer.name}, level {level}: {figure.accuracy:.4f}", (level + 1) / answerer.levels)
            )
    return figures


def _chosen(outputs: Any, name: str | None) -> Array:
    if name is not None and name not in outputs:
        raise UnknownNameError("output", name, list(outputs))
    array: Array = np.asarray(outputs[name] if name is not None else next(iter(outputs.values())))
    if array.ndim == 0:
        raise InputError(
            "The output has no batch, so it cannot be compared with labels",
            fix="Choose another: --output-name NAME",
        )
    return array


def _own(spec: str) -> Callable[[Array, Array], object]:
    from elsa_edge.factory import load_factory

    function = load_factory(spec)

    def run(outputs: Array, labels: Array) -> object:
        try:
            return function(outputs, labels)
        except Exception as error:
            raise UsageError(f"{spec} failed ({type(error).__name__}: {first_line(error)})") from error

    return run
