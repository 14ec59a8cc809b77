"""What recurrent layers in 8 bits compute, in numpy: the oracle that every instruction set equals bit for bit.

    sums  = exact integers of the state's codes and the active weights, anew at every step
    gates = from_input + (float32(sums) * scale + bias)

Gates lie in the order of ONNX. Each float operation is rounded to float32 by itself, as in `reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.quantise.reference import exponential, exponential_apart, to_floats
from elsa_edge.quantise.steps import Steps, codes_of

__all__ = ["Cells", "recur"]

Floats = npt.NDArray[np.float32]
_ONE: Final = np.float32(1)
_TWO: Final = np.float32(2)


@dataclass(frozen=True)
class Cells:
    """A recurrent layer at one level.

    Attributes:
        units: Numbers of a state.
        weight: (rows, units) int8 codes, 0 where inactive; rows are (direction, gate, unit).
        table: (2, rows or more) scale and bias of the sums.
        steps: How the state is coded.
        backward: Whether the only direction runs from the last step to the first.
        linear_before_reset: Of a GRU: its reset gate multiplies sums. None for an LSTM.
    """

    units: int
    weight: npt.NDArray[Any]
    table: Floats
    steps: Steps
    backward: bool
    linear_before_reset: bool | None


def recur(cells: Cells, from_input: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
    """Return all states (T, D, N, U), the last ones and the last cells (D, N, U).

    Args:
        cells: The layer.
        from_input: (T, N, rows) what the input adds to the gates.
        h: (D, N, U) initial states.
        c: The same of cells; a GRU leaves them as they are.
    """
    step: Callable[..., tuple[Floats, Floats]] = _lstm if cells.linear_before_reset is None else _gru
    h, c = h.copy(), c.copy()
    y = np.zeros((len(from_input), *h.shape), np.float32)
    per_direction = len(cells.weight) // len(h)
    for d in range(len(h)):
        rows = slice(d * per_direction, (d + 1) * per_direction)
        times = range(len(from_input))
        for t in reversed(times) if cells.backward or d == 1 else times:
            h[d], c[d] = step(cells, rows, from_input[t][:, rows], h[d], c[d])
            y[t, d] = h[d]
    return y, h, c


def _lstm(cells: Cells, rows: slice, x: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats]:
    i, o, f, g = np.split(x + _product(cells, rows, h), 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * _tanh(g)
    return _sigmoid(o) * _tanh(c), c


def _gru(cells: Cells, rows: slice, x: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats]:
    z, r, g = np.split(x, 3, axis=1)
    from_z, from_r, from_g = np.split(_product(cells, rows, h), 3, axis=1)
    update, reset = _sigmoid(z + from_z), _sigmoid(r + from_r)
    hidden = reset * from_g
    if not cells.linear_before_reset:
        hidden = np.split(_product(cells, rows, reset * h), 3, axis=1)[2]
    return (_ONE - update) * _tanh(g + hidden) + update * h, c


def _product(cells: Cells, rows: slice, h: Floats) -> Floats:
    sums = codes_of(h, cells.steps).astype(np.int64) @ cells.weight[rows].T.astype(np.int64)
    return to_floats(sums, cells.table[:, rows], axis=1)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(_ONE / (exponential(-x) + _ONE), np.float32)


def _tanh(x: Floats) -> Floats:
    polynomial, power = exponential_apart(x + x)
    less_one = polynomial * power + (power - _ONE)
    return np.asarray(less_one / (less_one + _TWO), np.float32)
