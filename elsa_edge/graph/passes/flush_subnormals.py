"""Set subnormal constants to zero:  w' = 0 where 0 < |w| < 2^-126

BatchNorm folded into a dead filter leaves such numbers; many CPUs compute with them 5 to 100 times slower.

    requires  constants
    ensures   no float constant that a layer reads is subnormal; the change is below 2^-126 in each weight
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.numbers import Numbers
from elsa_edge.graph.passes.rewrite import Rewrite

__all__ = ["FlushSubnormals"]

_FLOATS = {ir.DataType.FLOAT: np.float32, ir.DataType.FLOAT16: np.float16, ir.DataType.DOUBLE: np.float64}


class FlushSubnormals(Rewrite):
    """Flush initializers and, where a computed constant would be subnormal, insert the flush behind it."""

    def ensures(self, model: ir.Model) -> None:
        """Refuse a graph whose flushed constants still have such numbers."""
        super().ensures(model)
        for value in self._flushed:
            array = np.asarray(value.const_value.numpy()) if value.const_value is not None else None
            if array is None or _subnormal(array).any():
                raise ir.passes.PostconditionError(f"FlushSubnormals left subnormal numbers in {value.name}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place; `modified` tells whether any number was flushed."""
        numbers = Numbers(model)
        graph = model.graph
        modified = False
        self._flushed: list[ir.Value] = []
        for value in [*graph.initializers.values(), *(output for node in graph for output in node.outputs)]:
            array = numbers.get(value)
            if array is None or array.dtype.kind != "f" or not self._read_by_a_layer(value, numbers):
                continue
            subnormal = _subnormal(array)
            if not subnormal.any():
                continue
            modified = True
            if value.is_initializer():
                self._flushed.append(value)
                value.const_value = ir.tensor(
                    np.where(subnormal, array.dtype.type(0), array), name=value.name
                )
            else:
                self._flush_behind(graph, value, array.dtype)
        return ir.passes.PassResult(model, modified)

    @staticmethod
    def _read_by_a_layer(value: ir.Value, numbers: Numbers) -> bool:
        """Whether some reader works at run time, so that these numbers survive constant folding."""
        return any(numbers.get(use.node.outputs[0]) is None for use in value.uses())

    @staticmethod
    def _flush_behind(graph: ir.Graph, value: ir.Value, dtype: np.dtype[np.floating]) -> None:
        """Insert  where(|w| < tiny, 0, w)  after the node that computes w."""
        producer = value.producer()
        assert producer is not None
        tiny = constant(graph, "elsa_edge.tiny", np.array(np.finfo(dtype).tiny, dtype))
        zero = constant(graph, "elsa_edge.zero", np.array(0, dtype))
        magnitude = ir.node("Abs", [value])
        compare = ir.node("Less", [magnitude.outputs[0], tiny])
        flushed = ir.Value(
            name=fresh_name(graph, f"{value.name}.flushed"), shape=value.shape, type=value.type
        )
        for use in list(value.uses()):
            if use.node is not magnitude:
                use.node.replace_input_with(use.idx, flushed)
        select = ir.node("Where", [compare.outputs[0], zero, value], outputs=[flushed])
        graph.insert_after(producer, [magnitude, compare, select])
        for node in (magnitude, compare):
            node.outputs[0].name = fresh_name(graph, f"{value.name}.{node.op_type.lower()}")


def _subnormal(array: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Return where an array holds numbers below the smallest normal one."""
    return np.asarray((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny))
