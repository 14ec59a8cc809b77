"""Put the levels into a graph: masks from level indices, tables gathered by level, and a guard on the level.

    level.checked = Gather([0..K-1], level < 0 ? K : level)      fails for every level outside 0..K-1
    W.masked      = reshape(where(flat(W.level_index) <= level.checked, flat(W), 0), shape(W))
    T.selected    = Gather(T.levels, level.checked)              tensors that differ by level

Masking works on flat tensors: broadcasting a scalar over a 4-D one is four times slower in ONNX Runtime.
Two steps, because cleaning between them must not fold the weights away: `detach` makes each weight an input of the
graph, `attach` makes it a computed value again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ExportError
from elsa_edge.graph.names import INDEX, LEVEL_INPUT, MASKED, SELECTED, TABLE
from elsa_edge.graph.scopes import OWN

__all__ = ["CHECKED", "SHAPE_ONLY", "attach", "detach"]

CHECKED: Final = "level.checked"

# These ask for the shape or the type of a tensor, never for its numbers; left on the plain weight they still fold.
SHAPE_ONLY: Final = frozenset({("", "Shape", 0), ("", "Size", 0), ("", "CastLike", 1)})


def detach(model: ir.Model, names: Sequence[str]) -> dict[str, ir.Value]:
    """Turn initializers into graph inputs, in place, and return name -> the new value.

    Uses that only ask for shape or type stay on the initializer. A name that is not an initializer, or that nothing
    uses, is left out of the result: the network does not compute with it.
    """
    graph = model.graph
    detached: dict[str, ir.Value] = {}
    for name in names:
        initializer = graph.initializers.get(name)
        if initializer is None:
            continue
        uses = [
            use
            for use in initializer.uses()
            if (use.node.domain, use.node.op_type, use.idx) not in SHAPE_ONLY
        ]
        if not uses and not initializer.is_graph_output():
            continue
        assert initializer.const_value is not None
        shape = ir.Shape(initializer.const_value.numpy().shape)
        value = ir.Value(name=name + MASKED, shape=shape, type=initializer.type)
        for use in uses:
            use.node.replace_input_with(use.idx, value)
        graph.outputs[:] = [value if output is initializer else output for output in graph.outputs]
        graph.inputs.append(value)
        detached[name] = value
    return detached


def _constant(graph: ir.Graph, name: str, array: np.ndarray[Any, Any]) -> ir.Value:
    if name in graph.initializers:
        raise ExportError(
            f"The graph already has a tensor named {name!r}", fix="Rename that parameter of the model"
        )
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def attach(model: ir.Model, detached: Mapping[str, ir.Value], checkpoint: NestedCheckpoint) -> None:
    """Compute the detached values from the checkpoint's weights, indices and tables, in place; add the level input."""
    graph = model.graph
    level_count = len(checkpoint.ladder)
    held = {id(value) for value in detached.values()}
    graph.inputs[:] = [value for value in graph.inputs if id(value) not in held]
    if any(value.name == LEVEL_INPUT for value in graph.inputs):
        raise ExportError(
            f"The model has an input named {LEVEL_INPUT!r}, which is reserved",
            fix="Call that argument of forward something else",
        )
    level = ir.Value(name=LEVEL_INPUT, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
    graph.inputs.append(level)

    nodes: list[ir.Node] = []

    def add(
        op_type: str, inputs: Sequence[ir.Value], name: str, output: ir.Value | None = None, **attributes: int
    ) -> ir.Value:
        result = output if output is not None else ir.Value(name=name)
        result.name = name
        nodes.append(ir.node(op_type, list(inputs), attributes, outputs=[result], name=OWN + name))
        return result

    zero_level = _constant(graph, "level.zero", np.array(0, np.int64))
    count = _constant(graph, "level.count", np.array(level_count, np.int64))
    allowed = _constant(graph, "level.allowed", np.arange(level_count, dtype=np.int64))
    negative = add("Less", [level, zero_level], "level.negative")
    checked = add(
        "Gather", [allowed, add("Where", [negative, count, level], "level.or_count")], CHECKED, axis=0
    )

    nested = [name for name in detached if name in checkpoint.indices]
    if nested:
        as_byte = add("Cast", [checked], "level.byte", to=int(ir.DataType.UINT8))
        flat = _constant(graph, "level.flat", np.array([-1], np.int64))
        zero = _constant(graph, "level.zero_weight", np.zeros((), np.float32))
    for name in nested:
        weight = graph.initializers.get(name) or _constant(graph, name, checkpoint.weights[name])
        index = _constant(graph, name + INDEX, checkpoint.indices[name])
        shape = _constant(graph, name + ".shape", np.array(checkpoint.weights[name].shape, np.int64))
        active = add(
            "LessOrEqual", [add("Reshape", [index, flat], name + ".index_flat"), as_byte], name + ".active"
        )
        kept = add("Where", [active, add("Reshape", [weight, flat], name + ".flat"), zero], name + ".kept")
        add("Reshape", [kept, shape], name + MASKED, output=detached[name])
    for name in detached:
        if name in checkpoint.tables:
            table = _constant(graph, name + TABLE, checkpoint.tables[name].astype(np.float32))
            add("Gather", [table, checked], name + SELECTED, output=detached[name], axis=0)

    first = next(iter(graph), None)
    if first is None:
        graph.extend(nodes)
    else:
        graph.insert_before(first, nodes)
