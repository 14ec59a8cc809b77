"""LSTM and GRU in float64, as ONNX describes them: what the cells of the kernels must agree with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from elsa_edge.nested_format.operators import DOMAIN, Attributes
from support.nodes import open_session

Array = np.ndarray[Any, Any]
Operator = Literal["LSTM", "GRU"]
GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Layer:
    """A recurrent layer; rows of `r`, `r_bias` and `from_input` are (direction, gate, unit) flattened."""

    operator: Operator
    units: int
    r: Array
    r_bias: Array
    backward: bool = False
    linear_before_reset: bool = False

    def run(
        self, from_input: Array, h: Array, c: Array, lengths: Array | None = None
    ) -> tuple[Array, Array, Array]:
        """Return all states (T, D, N, U), the last ones and the last cells (D, N, U)."""
        steps, batch, _ = from_input.shape
        h, c = h.astype(np.float64), c.astype(np.float64)
        y = np.zeros((steps, *h.shape))
        for d in range(len(h)):
            rows = slice(d * GATES[self.operator] * self.units, (d + 1) * GATES[self.operator] * self.units)
            for n in range(batch):
                length = steps if lengths is None else int(lengths[n])
                order = range(length)
                for t in reversed(order) if self.backward or d == 1 else order:
                    h[d, n], c[d, n] = self._step(rows, from_input[t, n, rows], h[d, n], c[d, n])
                    y[t, d, n] = h[d, n]
        return y, h, c

    def _step(self, rows: slice, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        gates = x.reshape(-1, self.units)
        r, bias = self.r[rows].astype(np.float64), self.r_bias[rows].astype(np.float64)
        state = (r @ h + bias).reshape(-1, self.units)
        if self.operator == "LSTM":
            i, o, f = (sigmoid(gates[k] + state[k]) for k in range(3))
            c = f * c + i * np.tanh(gates[3] + state[3])
            return o * np.tanh(c), c
        z, reset = sigmoid(gates[0] + state[0]), sigmoid(gates[1] + state[1])
        last = slice(2 * self.units, 3 * self.units)
        hidden = reset * state[2] if self.linear_before_reset else r[last] @ (reset * h) + bias[last]
        return (1 - z) * np.tanh(gates[2] + hidden) + z * h, c


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def run_cells(  # noqa: PLR0917 - called in one way only
    kind: str,
    inputs: list[str],
    attributes: Attributes,
    constants: dict[str, Array],
    feed: dict[str, Array],
    wanted: tuple[str, ...],
    threads: int = 1,
) -> list[Array]:
    """Run one node of ours with those of its outputs `y`, `last_h` and `last_c` that are wanted."""
    outputs = [name if name in wanted else "" for name in ("y", "last_h", "last_c")]
    while not outputs[-1]:
        outputs.pop()
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, domain=DOMAIN, **attributes)],
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feed.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in wanted],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    return open_session(helper.make_model(graph, opset_imports=opsets, ir_version=10), threads).run(
        list(wanted), feed
    )
