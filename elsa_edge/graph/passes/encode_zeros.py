"""Store a sparse constant as its nonzeros and the gaps between them:

    position_i = sum_{j<=i} gap_j            W = reshape(scatter(0, position, nonzeros), shape)

Gaps take one or two bytes; a longer gap is bridged by explicit zeros. The runtime evaluates this once, at load.
NonZero or Compress would do it in one node, but ONNX Runtime 1.28 and later no longer fold them.

    requires  constants
    ensures   the same numbers after folding; only constants that become smaller are touched
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.passes.refusals import refuse
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["EncodeZeros", "encoded_bytes", "gaps_and_values"]

# Nodes and names cost about this much per tensor; smaller savings are not worth the work at load.
_OVERHEAD_BYTES: Final = 600


def gaps_and_values(
    flat: npt.NDArray[Any], gap_type: type[np.unsignedinteger[Any]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return (gaps, values) of a flat array (size,); the first gap is the first position.

    Gaps that do not fit the type are split by explicit zeros, so both results may be longer than the nonzeros.
    """
    largest = int(np.iinfo(gap_type).max)
    positions = np.flatnonzero(flat)
    if positions.size == 0:
        return np.zeros(1, gap_type), np.zeros(1, flat.dtype)
    gaps = np.diff(positions, prepend=0)
    bridges = np.maximum(0, -(-gaps // largest) - 1)  # how many zeros each gap needs before its nonzero
    ends = np.cumsum(bridges + 1) - 1
    all_gaps = np.full(int(ends[-1]) + 1, largest, np.int64)
    all_gaps[ends] = gaps - bridges * largest
    values = np.zeros(all_gaps.size, flat.dtype)
    values[ends] = flat[positions]
    return all_gaps.astype(gap_type), values


def encoded_bytes(flat: npt.NDArray[Any]) -> tuple[int, type[np.unsignedinteger[Any]]]:
    """Return the smaller size in bytes of the two gap types, and that type."""
    sizes = {}
    for gap_type in (np.uint8, np.uint16):
        gaps, values = gaps_and_values(flat, gap_type)
        sizes[gap_type] = gaps.nbytes + values.nbytes
    best = min(sizes, key=lambda kind: sizes[kind])
    return sizes[best], best


class EncodeZeros(Rewrite):
    """Encode every float constant that becomes smaller by it."""

    def ensures(self, model: ir.Model) -> None:
        """Refuse a code that stands for other numbers."""
        super().ensures(model)
        if self._changed:
            raise ir.passes.PostconditionError(f"EncodeZeros changed numbers of {self._changed[0]}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any constant was encoded."""
        graph = model.graph
        modified = False
        self._changed: list[str] = []
        for value in list(graph.initializers.values()):
            if value.const_value is None or value.dtype != ir.DataType.FLOAT or not value.uses():
                continue
            array = np.asarray(value.const_value.numpy())
            # A nonzero takes at least 5 bytes instead of 4.
            dense = np.count_nonzero(array) * 5 >= array.size * 4
            size_bytes, gap_type = (array.nbytes, np.uint8) if dense else encoded_bytes(array.reshape(-1))
            if size_bytes + _OVERHEAD_BYTES < array.nbytes:
                self._encode(graph, value, array, gap_type)
                modified = True
            elif array.nbytes > _OVERHEAD_BYTES:
                refuse(
                    "encode zeros",
                    f"the constant {value.name}",
                    f"{np.count_nonzero(array) / array.size:.0%} of it are not zero, too many for a smaller code",
                )
        return ir.passes.PassResult(model, modified)

    def _encode(self, graph: ir.Graph, value: ir.Value, array: npt.NDArray[Any], gap_type: type[Any]) -> None:
        name = str(value.name)
        gaps, values = gaps_and_values(array.reshape(-1), gap_type)
        decoded_here = np.zeros(array.size, array.dtype)
        decoded_here[np.cumsum(gaps, dtype=np.int64)] = values
        if not np.array_equal(decoded_here.reshape(array.shape), array, equal_nan=True):
            self._changed.append(name)

        def add(op_type: str, inputs: list[ir.Value], suffix: str, **attributes: Any) -> ir.Value:
            output = ir.Value(name=fresh_name(graph, f"{name}.{suffix}"))
            nodes.append(ir.node(op_type, inputs, attributes, outputs=[output]))
            return output

        nodes: list[ir.Node] = []
        steps = add("Cast", [constant(graph, f"{name}.gaps", gaps)], "steps", to=int(ir.DataType.INT64))
        axis = constant(graph, "elsa_edge.axis_0", np.array(0, np.int64))
        positions = add("CumSum", [steps, axis], "positions")
        size = constant(graph, f"{name}.size", np.array([array.size], np.int64))
        zeros = add("ConstantOfShape", [size], "zeros", value=ir.tensor(np.zeros(1, np.float32)))
        nonzeros = constant(graph, f"{name}.nonzeros", values)
        flat = add("ScatterElements", [zeros, positions, nonzeros], "flat", axis=0)
        shape = constant(graph, f"{name}.shape", np.array(array.shape, np.int64))
        decoded = add("Reshape", [flat, shape], "decoded")
        decoded.shape, decoded.type = ir.Shape(array.shape), value.type
        value.replace_all_uses_with(decoded, replace_graph_outputs=True)
        del graph.initializers[name]
        first = next(iter(graph))
        graph.insert_before(first, nodes)
