"""The node that takes the place of an LSTM or GRU, after the product with its input: of floats, or in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import onnx_ir as ir

from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.nested_format.activations import Activation
from elsa_edge.nested_format.operators import (
    DOMAIN,
    GRU,
    GRU8,
    LSTM,
    LSTM8,
    cell_attributes,
    finish_attributes,
)

__all__ = ["cell_node"]

# Of the ONNX node: initial states, initial cells, lengths; in the order of ours.
_STATES: Final = (5, 6, 4)


def cell_node(
    node: ir.Node,
    layer: Layer,
    first: Sequence[ir.Value],
    segments: Sequence[ir.Value],
    *,
    int8: bool = False,
) -> ir.Node:
    """Return our node with the same outputs as `node`; those that nobody reads have no name.

    Args:
        node: An LSTM or GRU.
        layer: What was found of it.
        first: What the input adds to the gates, the level, the tables.
        segments: Of the product with the state.
        int8: Whether they are codes.
    """
    cell = layer.cell
    assert cell is not None
    kinds = (LSTM8, GRU8) if int8 else (LSTM, GRU)
    attributes = cell_attributes(
        cell.units, cell.directions, backward=cell.backward, linear_before_reset=cell.linear_before_reset
    )
    states = [node.inputs[number] if number < len(node.inputs) else None for number in _STATES]
    made = ir.node(
        kinds[cell.linear_before_reset is not None],
        [*first, *states, *segments],
        attributes if int8 else attributes | finish_attributes(Activation()),
        domain=DOMAIN,
        num_outputs=len(node.outputs),
        name=f"{layer.name}.nested",
    )
    for old, new in zip(node.outputs, made.outputs, strict=True):
        read = bool(old.uses()) or old.is_graph_output()
        new.name = f"{old.name}.nested" if read else ""
        new.shape, new.type = old.shape, ir.TensorType(ir.DataType.FLOAT)
    return made
