"""LSTM and GRU layers whose weights are nested: from the nodes of all levels to a layer of two products.

    P = X W^T + b         for all steps at once        the layer's `before`, a product with many vectors
    gates = P[t] + R h    step after step              the layer itself, whose weight is R

Rows of both weights are (direction, gate, unit), gates in the order of ONNX.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.nested.layer import Layer, Recurrent
from elsa_edge.exporters.nested.networks import Networks, index_of
from elsa_edge.nested_format.activations import Activation

__all__ = ["RECURRENT", "recurrent_layer"]

RECURRENT: Final = frozenset({"LSTM", "GRU"})
_USUAL: Final = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh")}
_DIRECTIONS: Final = ("forward", "reverse", "bidirectional")
_PEEPHOLES: Final = 7

Array = npt.NDArray[Any]


def recurrent_layer(networks: Networks, position: int, name: str) -> Layer | str:
    """Return the layer of an LSTM or GRU node, or why nested kernels cannot compute it."""
    node = networks.nodes[position]
    inputs, state = networks.constants(position, 1), networks.constants(position, 2)
    if inputs is None or state is None:
        return "its weights are not constant"
    if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in (*inputs, *state)):
        return "its weights are not finite float32"
    biases = networks.constants(position, 3)
    if biases is None and _given(node, 3):
        return "its biases are not constant"
    cell = _cell(node, state[0].shape)
    if isinstance(cell, str):
        return cell
    wide, square = ([w.reshape(-1, w.shape[-1]) for w in weights] for weights in (inputs, state))
    index, index_of_state = index_of(wide), index_of(square)
    if index is None or index_of_state is None:
        return "its levels are not nested"
    rows, steps = len(square[0]), _steps(node)
    before = Layer(
        f"{name}.input", position, position, (), "matmul", np.ascontiguousarray(wide[-1]), index,
        _table(biases, networks.count, rows, 0), Activation(), None, None, steps,
    )  # fmt: skip
    return Layer(
        name, position, position, (), "recurrent", np.ascontiguousarray(square[-1]), index_of_state,
        _table(biases, networks.count, rows, 1), Activation(), None, None, steps, before, cell,
    )  # fmt: skip


def _given(node: ir.Node, number: int) -> bool:
    return number < len(node.inputs) and node.inputs[number] is not None


def _cell(node: ir.Node, shape: tuple[int, ...]) -> Recurrent | str:
    """Describe the cell, or say what about it is unusual."""
    named = node.attributes
    direction = named.get_string("direction", "forward")
    if named.get_int("layout", 0) != 0:
        return "its batch comes before its steps"
    if "clip" in named or named.get_int("input_forget", 0) != 0 or _given(node, _PEEPHOLES):
        return "its cells clip, couple gates or have peepholes"
    activations = tuple(str(a).lower() for a in named.get_strings("activations", ()))
    count = len(_USUAL[node.op_type])
    usual = all(
        activations[at : at + count] == _USUAL[node.op_type] for at in range(0, len(activations), count)
    )
    if not usual or direction not in _DIRECTIONS:
        return "its cells have other activations than sigmoid and tanh"
    lstm = node.op_type == "LSTM"
    return Recurrent(
        units=shape[-1],
        directions=shape[0],
        backward=direction == "reverse",
        linear_before_reset=None if lstm else bool(named.get_int("linear_before_reset", 0)),
    )


def _steps(node: ir.Node) -> int:
    """Return how many steps a sequence has, 1 where that is free."""
    source = node.inputs[0]
    steps = None if source is None or source.shape is None else source.shape[0]
    return steps if isinstance(steps, int) else 1


def _table(biases: list[Array] | None, levels: int, rows: int, half: int) -> npt.NDArray[np.float32]:
    """Return scale and bias of one of the two products: (levels, 2, rows)."""
    table = np.zeros((levels, 2, rows), np.float32)
    table[:, 0] = 1.0
    if biases is not None:  # (directions, 2 * gates * units): of the input, then of the state
        table[:, 1] = [b.reshape(len(b), 2, -1)[:, half].reshape(-1) for b in biases]
    return table
