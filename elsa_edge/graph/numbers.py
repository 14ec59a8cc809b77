"""The numbers behind computed constants, for passes that decide by value (dead channels, tiny weights)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.graph.cleaning import fold_constants

__all__ = ["Numbers"]


class Numbers:
    """Values of a graph that depend on constants only, evaluated once on a copy of the graph."""

    def __init__(self, model: ir.Model) -> None:
        folded = model.clone()
        fold_constants(folded, any_size=True)
        self._arrays = {
            name: value.const_value
            for name, value in folded.graph.initializers.items()
            if value.const_value is not None
        }
        for node in folded.graph:
            if node.op_type == "Constant" and node.outputs[0].const_value is not None:
                self._arrays[str(node.outputs[0].name)] = node.outputs[0].const_value

    def get(self, value: ir.Value | None) -> npt.NDArray[Any] | None:
        """Return the numbers of `value`, or None when it is absent or depends on an input."""
        if value is None or value.is_graph_input():
            return None
        tensor = value.const_value if value.const_value is not None else self._arrays.get(str(value.name))
        return None if tensor is None else np.asarray(tensor.numpy())
