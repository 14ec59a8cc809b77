"""Task metrics as sums over samples, so that an interval can be given; pure numpy.

    top1    share of samples whose largest output is the labelled class       interval: Wilson
    miou    mean over classes of intersection / union, over all samples       interval: bootstrap over samples
    mse     mean squared error; accuracy = 1 - mse / variance of the labels   interval: bootstrap over samples

Sources: Wilson, 1927 (score interval); Efron, 1979 (bootstrap percentiles).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import InputError, UnknownNameError, UsageError

__all__ = ["METRICS", "Figure", "Metric", "metric_named", "own_figure", "wilson"]

Array = npt.NDArray[Any]
Evidence = npt.NDArray[np.float64]  # (samples, columns of the metric)

_Z: Final = 1.959963984540054  # 95 %
_RESAMPLES: Final = 1000
_IGNORED: Final = 255  # the class that segmentation data use for "no class"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured for a level.

    Attributes:
        accuracy: In [0, 1], more is better; what `minimum_accuracy` is compared with.
        low: Lower end of its 95 % interval; None where a metric of the user's gives one number only.
        high: Upper end.
        samples: How many samples it is over.
        value: The metric in its own unit: the mean squared error, else the accuracy.
    """

    accuracy: float
    low: float | None
    high: float | None
    samples: int
    value: float


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        name: What the ladder calls it.
        evidence: (outputs, labels) of some samples -> one row for each.
        figure: All rows -> accuracy, low, high, value.
    """

    name: str
    evidence: Callable[[Array, Array], Evidence]
    figure: Callable[[Evidence], Figure]


def wilson(right: float, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share: `right` of `count`."""
    share, z2 = right / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def _bootstrap(
    evidence: Evidence, statistic: Callable[[Evidence], npt.NDArray[np.float64]]
) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of a statistic of column sums, samples drawn with replacement."""
    generator = np.random.default_rng(0)
    count = len(evidence)
    sums = np.stack(
        [generator.multinomial(count, np.full(count, 1 / count)) @ evidence for _ in range(_RESAMPLES)]
    )
    low, high = np.percentile(statistic(sums), (2.5, 97.5))
    return float(low), float(high)


def _figure(evidence: Evidence, statistic: Callable[[Evidence], npt.NDArray[np.float64]]) -> Figure:
    accuracy = float(statistic(evidence.sum(0, keepdims=True))[0])
    low, high = _bootstrap(evidence, statistic)
    return Figure(accuracy, low, high, len(evidence), accuracy)


def _classes(outputs: Array, labels: Array) -> tuple[Array, int]:
    """Return labels as whole numbers and how many classes the outputs have, along axis 1.

    Raises:
        InputError: When shapes do not belong together or a label is no class of the network.
    """
    wanted = (outputs.shape[0], *outputs.shape[2:])
    if outputs.ndim < 2 or labels.shape != wanted:
        raise InputError(
            "The labels do not fit the outputs",
            expected=f"a class for each place, {'x'.join(map(str, wanted))}, for outputs "
            f"{'x'.join(map(str, outputs.shape))} (classes along the second axis)",
            found="x".join(map(str, labels.shape)) or "one number",
        )
    whole = labels.astype(np.int64)
    if labels.dtype.kind == "b" and outputs.shape[1] > 2:
        raise InputError(
            "True and false are no labels of so many classes",
            expected=f"0 to {outputs.shape[1] - 1}",
            found="bool",
        )
    if labels.dtype.kind not in "iub" and not np.array_equal(whole, labels):
        raise InputError("Labels of classes must be whole numbers", found=f"{labels.dtype}")
    return whole, outputs.shape[1]


def _refuse_outside(labels: Array, legal: npt.NDArray[np.bool_], count: int) -> None:
    if not legal.all():
        place = tuple(int(i) for i in np.argwhere(~legal)[0])
        raise InputError(
            "A label is no class of the network",
            expected=f"0 to {count - 1}",
            found=f"{labels[place]} (at {', '.join(map(str, place))} of its batch)",
            fix="Labels count from 0; look at the file and at the number of outputs",
        )


def _top1(outputs: Array, labels: Array) -> Evidence:
    whole, count = _classes(outputs, labels)
    _refuse_outside(whole, (whole >= 0) & (whole < count), count)
    right = np.argmax(outputs, 1) == whole
    shares: Evidence = right.reshape(len(right), -1).mean(1, keepdims=True)
    return shares


def _top1_figure(evidence: Evidence) -> Figure:
    right, count = float(evidence.sum()), len(evidence)
    if np.isin(evidence, (0.0, 1.0)).all():
        low, high = wilson(right, count)
        return Figure(right / count, low, high, count, right / count)
    return _figure(evidence, lambda sums: sums[:, 0] / count)  # shares of the places of a sample


def _miou(outputs: Array, labels: Array) -> Evidence:
    whole, count = _classes(outputs, labels)
    counted = whole != _IGNORED
    _refuse_outside(whole, ~counted | ((whole >= 0) & (whole < count)), count)
    found = np.argmax(outputs, 1)
    rows = []
    for answer, truth, kept in zip(found, whole, counted, strict=True):
        both = np.bincount(truth[kept & (answer == truth)], minlength=count)
        union = np.bincount(truth[kept], minlength=count) + np.bincount(answer[kept], minlength=count) - both
        rows.append(np.concatenate([both, union]))
    return np.array(rows, np.float64)


def _mean_iou(sums: Evidence) -> npt.NDArray[np.float64]:
    both, union = np.split(sums, 2, axis=1)
    present = union > 0
    shares = np.where(present, both / np.maximum(union, 1.0), 0.0)
    return np.asarray(shares.sum(1) / np.maximum(present.sum(1), 1))


def _mse(outputs: Array, labels: Array) -> Evidence:
    if outputs.shape != labels.shape:
        raise InputError(
            "The labels do not fit the outputs",
            expected="x".join(map(str, outputs.shape)),
            found="x".join(map(str, labels.shape)) or "one number",
        )
    got = outputs.astype(np.float64).reshape(len(outputs), -1)
    want = labels.astype(np.float64).reshape(len(labels), -1)
    columns = (((got - want) ** 2).sum(1), want.sum(1), (want**2).sum(1), np.full(len(want), want.shape[1]))
    return np.stack(columns, 1)


def _explained(sums: Evidence) -> npt.NDArray[np.float64]:
    error, total, squares, count = sums.T
    spread = squares - total**2 / count
    return np.where(spread > 0, np.clip(1 - error / np.where(spread > 0, spread, 1.0), 0.0, 1.0), 0.0)


def _mse_figure(evidence: Evidence) -> Figure:
    figure = _figure(evidence, _explained)
    sums = evidence.sum(0)
    return Figure(figure.accuracy, figure.low, figure.high, figure.samples, float(sums[0] / sums[3]))


METRICS: Final[Mapping[str, Metric]] = {
    "top1": Metric("top1", _top1, _top1_figure),
    "miou": Metric("miou", _miou, lambda evidence: _figure(evidence, _mean_iou)),
    "mse": Metric("mse", _mse, _mse_figure),
}


def metric_named(name: str) -> Metric | None:
    """Return a metric of ours; None for `PKG:FUNCTION`, which is the user's.

    Raises:
        UnknownNameError: When it is neither.
    """
    if ":" in name:
        return None
    if name not in METRICS:
        raise UnknownNameError("metric", name, [*METRICS, "PKG:FUNCTION"])
    return METRICS[name]


def own_figure(name: str, answer: object, samples: int) -> Figure:
    """Return the figure that a function of the user's has answered: a number, or one for each sample.

    Raises:
        UsageError: When it is neither, or lies outside [0, 1].
    """
    values = (
        np.asarray(answer, np.float64)
        if isinstance(answer, (int, float, np.ndarray, np.generic, list))
        else None
    )
    if values is None or values.ndim > 1 or (values.ndim == 1 and len(values) != samples):
        raise UsageError(
            f"{name} answered something else than a metric",
            expected=f"a number, or {samples} numbers, one for each sample",
            found=type(answer).__name__ if values is None else "x".join(map(str, values.shape)),
        )
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise UsageError(
            f"{name} answered a number outside [0, 1]", fix="Scale it: more must be better, 1 the best"
        )
    if values.ndim == 0:
        return Figure(float(values), None, None, samples, float(values))
    return _figure(values[:, None], lambda sums: sums[:, 0] / samples)
