"""Which initializers a graph multiplies with, and along which of their dimensions it sums.

initializer --Reshape, Transpose, Slice, Concat, Cast ...--> factor of Conv, ConvTranspose, MatMul, Gemm, Einsum,
LSTM, GRU or RNN

rows(W) : (groups, out / groups, in / groups, positions)     whatever the operator's own layout
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

__all__ = ["Factor", "find_factors", "sets_sizes"]

_MOVES: Final = frozenset(
    {
        "Reshape",
        "Transpose",
        "Slice",
        "Split",
        "Concat",
        "Unsqueeze",
        "Squeeze",
        "Identity",
        "Cast",
        "Flatten",
    }
)
_SHAPE_ONLY: Final = frozenset({("Shape", 0), ("Size", 0), ("CastLike", 1)})
_SIZED_BY_FLOATS: Final = frozenset({"Resize", "Upsample"})
_RECURRENT: Final = frozenset({"LSTM", "GRU", "RNN"})


@dataclass(frozen=True, slots=True)
class Factor:
    """An initializer that the graph multiplies with.

    Attributes:
        name: Its name.
        shape: Its shape.
        kind: `conv`, `conv_transpose`, `linear` (its last dimension is summed over) or `linear_in_out` (the last but
            one is).
        groups: Of a convolution.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    groups: int = 1

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def depthwise(self) -> bool:
        """Whether each output channel sees a single input channel of several."""
        inputs = self.shape[0] // self.groups if self.kind == "conv_transpose" else self.shape[1]
        return self.groups > 1 and inputs == 1

    def rows(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values of the factor's shape as `(groups, out / groups, in / groups, positions)`."""
        if self.kind == "conv":
            out, inputs = self.shape[:2]
            return values.reshape(self.groups, out // self.groups, inputs, -1)
        if self.kind == "conv_transpose":  # (in, out / groups, *kernel)
            split = values.reshape(self.groups, self.shape[0] // self.groups, self.shape[1], -1)
            return split.transpose(0, 2, 1, 3)
        matrix = np.swapaxes(values, -1, -2) if self.kind == "linear_in_out" else values
        return matrix.reshape(1, -1, matrix.shape[-1], 1)

    def from_rows(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Undo `rows`."""
        if self.kind == "conv":
            return rows.reshape(self.shape)
        if self.kind == "conv_transpose":
            return rows.transpose(0, 2, 1, 3).reshape(self.shape)
        if self.kind == "linear_in_out":
            turned = (*self.shape[:-2], self.shape[-1], self.shape[-2])
            return np.swapaxes(rows.reshape(turned), -1, -2)
        return rows.reshape(self.shape)


def find_factors(graph: ir.Graph) -> tuple[list[Factor], dict[str, str]]:
    """Return the float32 initializers that are multiplied with and nothing else, and why others are not.

    Returns:
        The factors in the order of the graph's initializers; and name -> reason for the other initializers of two or
        more dimensions.
    """
    found: list[Factor] = []
    reasons: dict[str, str] = {}
    for name, value in graph.initializers.items():
        shape = None if value.const_value is None else tuple(value.const_value.shape.numpy())
        if shape is None or len(shape) < 2:
            continue
        if value.dtype != ir.DataType.FLOAT:
            reasons[name] = (
                f"its numbers are {value.dtype.name.lower() if value.dtype else 'of no known type'}"
            )
            continue
        if value.is_graph_output() or value.is_graph_input():
            reasons[name] = "it is an input or output of the graph"
            continue
        kinds: set[tuple[str, int]] = set()
        other = ""
        for node, place, turned in _ends(value):
            kind = _kind(node, place, turned=turned)
            if kind is None:
                other = other or f"it is used by {node.op_type}, which is no product"
            else:
                kinds.add(kind)
        if other or not kinds:
            reasons[name] = other or "nothing uses it"
            continue
        found.append(Factor(name, shape, *min(kinds)))
    return found, reasons


def sets_sizes(value: ir.Value) -> bool:
    """Tell whether an initializer is how many places there are or their scale: in Resize, in Range, cut off."""
    return any(
        (node.op_type in _SIZED_BY_FLOATS and place > 0) or node.op_type == "Range" or _is_whole(node)
        for node, place, _ in _ends(value)
    )


def _is_whole(node: ir.Node) -> bool:
    """Tell whether a node cuts a number off to a whole one."""
    return node.op_type in ("Ceil", "Floor", "Round")


def _ends(value: ir.Value) -> Iterator[tuple[ir.Node, int, bool]]:
    """Yield where a value ends up: node, place among its inputs, whether its last two dimensions were swapped."""
    seen: set[tuple[ir.Node, int]] = set()
    queue = [(value, False)]
    while queue:
        current, turned = queue.pop()
        for use in current.uses():
            if (use.node, use.idx) in seen or (use.node.op_type, use.idx) in _SHAPE_ONLY:
                continue
            seen.add((use.node, use.idx))
            if use.node.op_type in _MOVES and use.node.domain in ("", "ai.onnx"):
                swaps = use.node.op_type == "Transpose" and _swaps_last_two(use.node)
                queue.extend((output, turned != swaps) for output in use.node.outputs)
            else:
                yield use.node, use.idx, turned


def _swaps_last_two(node: ir.Node) -> bool:
    order = node.attributes.get_ints("perm", None)
    if order is None:
        return True  # all dimensions are reversed
    return len(order) >= 2 and order[-1] == len(order) - 2


def _kind(node: ir.Node, place: int, *, turned: bool) -> tuple[str, int] | None:
    """Return kind and groups of a factor at a place of a node, or None where the node does not multiply with it."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type in ("Conv", "ConvTranspose") and place == 1:
        groups = node.attributes.get_int("group", 1)
        return ("conv" if node.op_type == "Conv" else "conv_transpose"), groups
    if node.op_type in _RECURRENT and place in (1, 2):
        return "linear", 1
    last: bool | None = None  # whether the dimension that is summed over is the last one of the operand
    if node.op_type == "MatMul":
        last = place == 0
    elif node.op_type == "Gemm" and place in (0, 1):
        transposed = bool(node.attributes.get_int("transA" if place == 0 else "transB", 0))
        last = (place == 0) != transposed
    elif node.op_type == "Einsum":
        last = _einsum_sums_last(node, place)
    if last is None:
        return None
    return ("linear" if last != turned else "linear_in_out"), 1


def _einsum_sums_last(node: ir.Node, place: int) -> bool | None:
    """Tell whether an einsum sums over the last dimension of an operand; None when it sums over none of it."""
    inputs, _, result = node.attributes.get_string("equation", "").replace(" ", "").partition("->")
    term = inputs.split(",")[place].replace("...", "")
    if len(inputs.split(",")) < 2 or not result:
        return None
    summed = [label for label in term if label not in result]
    return None if not summed else term[-1] in summed
