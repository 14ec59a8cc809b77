"""The contract of format 1, checked after every step that writes a canonical graph.

masks nested                 each nested weight is used only as where(index <= level, weight, 0)
shared weights identical     one dense tensor, one comparison: no level has numbers of its own
shapes and rows              index shaped like its weight; one table row per level
densities                    active weights counted in the graph equal the ladder
whole                        every value that a node reads has a source
level guarded                everything that differs by level reads `level.checked`, which fails out of range
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import ContractError, LevelError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import INDEX, IR_VERSION, LEVEL_INPUT, MASKED, OPSET, SELECTED, TABLE
from elsa_edge.graph.nesting import CHECKED, SHAPE_ONLY
from elsa_edge.graph.passes.rewrite import dangling
from elsa_edge.levels import check_index
from elsa_edge.visible import visible

__all__ = ["check_contract"]

_DENSITY_TOLERANCE: Final = 1e-9


def check_contract(graph: CanonicalGraph) -> CanonicalGraph:
    """Return `graph` when it keeps the contract of format 1.

    Raises:
        ContractError: Naming the first tensor or node that breaks it.
    """
    _check_versions(graph.model)
    _check_names(graph)
    for problem in dangling(graph.model):
        raise ContractError("The canonical graph is broken", found=problem)
    _check_level_input(graph)
    for name in graph.nested:
        _check_nested_weight(graph, name)
    for name in graph.tables:
        _check_table(graph, name)
    _check_densities(graph)
    return graph


def _check_names(graph: CanonicalGraph) -> None:
    """Names that people see can be seen: see `elsa_edge.visible`."""
    for what, names in (("an input", graph.inputs), ("an output", graph.outputs), ("a weight", graph.nested)):
        for name in names:
            try:
                visible(name)
            except ValueError as error:
                raise ContractError(f"This is no name for {what} ({error})", found=repr(name)) from error


def _check_versions(model: ir.Model) -> None:
    found = (model.ir_version, model.graph.opset_imports.get(""))
    if found != (IR_VERSION, OPSET):
        raise ContractError(
            "The canonical graph is written for other versions",
            expected=f"IR {IR_VERSION}, opset {OPSET}",
            found=f"IR {found[0]}, opset {found[1]}",
        )
    if model.functions:
        raise ContractError(
            "A canonical graph has no local functions", found=", ".join(key[1] for key in model.functions)
        )


def _producer(value: ir.Value | None, op_type: str, broken: Callable[[str], ContractError]) -> ir.Node:
    node = value.producer() if value is not None else None
    if node is None or node.op_type != op_type or node.domain not in ("", "ai.onnx"):
        name = value.name if value is not None else "a missing value"
        raise broken(f"{name} should come from {op_type}, comes from {node.op_type if node else 'nowhere'}")
    return node


def _constant_of(value: ir.Value | None, broken: Callable[[str], ContractError]) -> npt.NDArray[Any]:
    if value is None or value.const_value is None or not value.is_initializer() or value.is_graph_input():
        raise broken(f"{value.name if value is not None else 'a value'} should be a constant")
    return np.asarray(value.const_value.numpy())


def _check_level_input(graph: CanonicalGraph) -> None:
    def broken(detail: str) -> ContractError:
        return ContractError(
            "The level input of the canonical graph is not guarded as format 1 asks", found=detail
        )

    level = next((value for value in graph.model.graph.inputs if value.name == LEVEL_INPUT), None)
    if level is None or level.dtype != ir.DataType.INT64 or level.shape is None or len(level.shape) != 0:
        raise ContractError(
            "The canonical graph has no input named level", expected="level: int64 scalar", found=level
        )
    uses = [use.node for use in level.uses()]
    checked = _values(graph).get(CHECKED)
    gather = _producer(checked, "Gather", broken)
    allowed = _constant_of(gather.inputs[0], broken)
    where = _producer(gather.inputs[1], "Where", broken)
    less = _producer(where.inputs[0], "Less", broken)
    if not np.array_equal(allowed, np.arange(len(graph.ladder))):
        raise broken(f"allowed levels {allowed.tolist()} for a ladder of {len(graph.ladder)}")
    if (
        less.inputs[0] is not level
        or _constant_of(less.inputs[1], broken) != 0
        or where.inputs[2] is not level
    ):
        raise broken("another comparison than level < 0")
    if _constant_of(where.inputs[1], broken) != len(graph.ladder):
        raise broken("negative levels would not fail")
    if {id(node) for node in uses} != {id(less), id(where)}:
        raise broken("the unchecked level is used elsewhere")


def _values(graph: CanonicalGraph) -> dict[str | None, ir.Value]:
    return {output.name: output for node in graph.model.graph for output in node.outputs}


def _check_nested_weight(graph: CanonicalGraph, name: str) -> None:
    def broken(detail: str) -> ContractError:
        return ContractError(
            f"The weight {name} is not masked as format 1 asks",
            expected=f"where({name}{INDEX} <= level, {name}, 0)",
            found=detail,
        )

    initializers = graph.model.graph.initializers
    if name not in initializers:
        raise broken("a level index without its weight")
    weight = _constant_of(initializers[name], broken)
    if weight.dtype != np.float32:
        raise broken(f"type {weight.dtype}")
    try:
        check_index(name, _constant_of(initializers[name + INDEX], broken), weight.shape, len(graph.ladder))
    except LevelError as error:
        raise ContractError(error.problem, expected=error.expected, found=error.found) from error

    masked = _values(graph).get(name + MASKED)
    reshape = _producer(masked, "Reshape", broken)
    where = _producer(reshape.inputs[0], "Where", broken)
    compare = _producer(where.inputs[0], "LessOrEqual", broken)
    index_flat = _producer(compare.inputs[0], "Reshape", broken)
    cast = _producer(compare.inputs[1], "Cast", broken)
    flat = _producer(where.inputs[1], "Reshape", broken)
    if index_flat.inputs[0] is not initializers[name + INDEX]:
        raise broken("another level index")
    if any(use.node is not index_flat for use in initializers[name + INDEX].uses()):
        raise broken("the level index used elsewhere")
    if cast.inputs[0] is None or cast.inputs[0].name != CHECKED:
        raise broken("a level that is not checked")
    if flat.inputs[0] is not initializers[name] or np.any(_constant_of(where.inputs[2], broken) != 0):
        raise broken("other numbers than the weight and zero")
    if tuple(_constant_of(reshape.inputs[1], broken)) != weight.shape:
        raise broken("another shape")
    others = [
        use.node
        for use in initializers[name].uses()
        if use.node is not flat and (use.node.domain, use.node.op_type, use.idx) not in SHAPE_ONLY
    ]
    if others or initializers[name].is_graph_output():
        raise broken(f"the unmasked weight used by {others[0].op_type if others else 'an output'}")


def _check_table(graph: CanonicalGraph, name: str) -> None:
    def broken(detail: str) -> ContractError:
        return ContractError(f"The per-level table of {name} is not used as format 1 asks", found=detail)

    value = graph.model.graph.initializers[name + TABLE]
    table = _constant_of(value, broken)
    if table.ndim < 1 or table.shape[0] != len(graph.ladder):
        raise ContractError(
            f"The per-level table of {name} has a wrong number of rows",
            expected=len(graph.ladder),
            found=table.shape[:1],
        )
    gather = _producer(_values(graph).get(name + SELECTED), "Gather", broken)
    axis = gather.attributes.get("axis")
    if (
        gather.inputs[0] is not value
        or gather.inputs[1] is None
        or gather.inputs[1].name != CHECKED
        or (axis and axis.as_int() != 0)
    ):
        raise broken("not gathered by the checked level along the first axis")
    if any(use.node is not gather for use in value.uses()):
        raise broken("a second use of the table")


def _check_densities(graph: CanonicalGraph) -> None:
    for level, density in zip(graph.ladder, graph.densities, strict=True):
        if level.density is None or abs(level.density - density) > _DENSITY_TOLERANCE:
            raise ContractError(
                f"The density of level {level.name} is not what the ladder says",
                expected=level.density,
                found=density,
            )
