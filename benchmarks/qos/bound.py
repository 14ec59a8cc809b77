"""What a rule could reach that knew a recorded trace: how much of the regret is the trace's own.

    cell(run)  = (tenth of the slow-down of the run before, quarter of its moving average before the run)
    hindsight  = for each cell the level of the highest mean value over the very runs that are counted

No rule that goes by these two figures does better on the trace, since this one was chosen after the fact. It may also
miss the budget more often than a policy allows, and short memory costs it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Row
from benchmarks.qos.ladders import BUDGET_MS
from elsa_edge.control import LevelFacts, Policy
from elsa_edge.control.replay import clairvoyant
from elsa_edge.control.trace import Sample

__all__ = ["hindsight_row"]

_TENTHS: Final = 10
_QUARTERS: Final = 4
_SMOOTHING: Final = 0.3

Figures = NDArray[np.float64]
Cells = NDArray[np.intp]


def hindsight_row(
    trace: Sequence[Sample],
    facts: Sequence[LevelFacts],
    truth_ms: Sequence[float],
    policy: Policy,
) -> Row:
    """Return the regret of the table that was chosen in hindsight on one trace."""
    slowdowns = np.array([sample.slowdown for sample in trace])
    accuracy = np.array([level.accuracy or 0.0 for level in facts])
    values = np.where(np.outer(slowdowns, truth_ms) <= BUDGET_MS, accuracy, 0.0)
    best = values[np.arange(len(trace)), clairvoyant(trace, facts, truth_ms, policy)]
    cells = _cells(np.log(slowdowns))
    reached = sum(values[cells == cell].sum(axis=0).max() for cell in np.unique(cells))
    return {
        "policy": "hindsight table",
        "cells": len(np.unique(cells)),
        "hindsight_regret": round(float(best.mean() - reached / len(trace)), 4),
    }


def _cells(logs: Figures) -> Cells:
    smooth = [logs[0]]
    for value in logs[:-1]:
        smooth.append(smooth[-1] + _SMOOTHING * (value - smooth[-1]))
    latest = np.concatenate((logs[:1], logs[:-1]))
    cells: Cells = _parts(latest, _TENTHS) * _QUARTERS + _parts(np.array(smooth), _QUARTERS)
    return cells


def _parts(figures: Figures, count: int) -> Cells:
    edges = np.quantile(figures, np.linspace(0.0, 1.0, count + 1)[1:-1])
    parts: Cells = np.digitize(figures, edges)
    return parts
