"""The networks of all levels side by side: the same nodes with other constants, so a node is known by its position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.levels import NEVER

__all__ = ["Networks", "array_of", "image_of", "index_of", "rank_of"]

Array = npt.NDArray[Any]


def array_of(value: ir.Value | None) -> Array | None:
    """Return the numbers of a constant, else None."""
    return None if value is None or value.const_value is None else np.asarray(value.const_value.numpy())


def rank_of(value: ir.Value | None) -> int | None:
    """Return the number of a value's dimensions where it is known."""
    return None if value is None or value.shape is None else len(value.shape)


def image_of(value: ir.Value | None) -> tuple[int, int, int] | None:
    """Return (channels, height, width) where all three are known."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    sizes = [size for size in list(value.shape)[1:] if isinstance(size, int)]
    return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 else None


def index_of(flat: Sequence[Array]) -> npt.NDArray[np.uint8] | None:
    """Return the level index of weights given once per level, or None where they are not nested."""
    last = flat[-1]
    index = np.full(last.shape, NEVER, np.uint8)
    for level in reversed(range(len(flat))):
        active = flat[level] != 0
        if not np.array_equal(flat[level][active], last[active]) or np.any(
            active & (index > level + 1) & (level + 1 < len(flat))
        ):
            return None
        index[active] = level
    return index


class Networks:
    """Looks at the same position in the networks of all levels; changes nothing.

    Args:
        models: The network of every level, sparsest first, all with the same nodes.
    """

    def __init__(self, models: Sequence[ir.Model]) -> None:
        self._levels = [list(model.graph) for model in models]
        self._places = {node: position for position, node in enumerate(self.nodes)}

    @property
    def count(self) -> int:
        """How many levels there are."""
        return len(self._levels)

    @property
    def nodes(self) -> list[ir.Node]:
        """The nodes of the densest level, in order."""
        return self._levels[-1]

    def constants(self, position: int, number: int) -> list[Array] | None:
        """Return one array per level for a node's input, or None where it is absent or not constant."""
        values = [nodes[position].inputs for nodes in self._levels]
        arrays = [array_of(inputs[number]) if number < len(inputs) else None for inputs in values]
        return None if any(array is None for array in arrays) else [a for a in arrays if a is not None]

    def only_use(self, value: ir.Value) -> tuple[ir.Node, int] | None:
        """Return the single consumer of a value, with the number of its input."""
        uses = list(value.uses())
        return (uses[0].node, uses[0].idx) if len(uses) == 1 and not value.is_graph_output() else None

    def place(self, node: ir.Node) -> int | None:
        """Return a node's position, None when it lies in a subgraph."""
        return self._places.get(node)
