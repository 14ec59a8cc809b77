"""ONNX graph with plain weights + nested checkpoint -> checked canonical graph. Where the graph came from is no matter.

detach the nested tensors -> tidy the rest -> attach them again as masks and tables -> check the contract
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Final

import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ExportError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.check import check_contract
from elsa_edge.graph.cleaning import tidy
from elsa_edge.graph.flops import flops_fractions
from elsa_edge.graph.names import (
    FORMAT,
    FORMAT_KEY,
    INDEX,
    IR_VERSION,
    LADDER_KEY,
    LEVEL_INPUT,
    MASKED,
    SELECTED,
    TABLE,
)
from elsa_edge.graph.nesting import attach, detach
from elsa_edge.graph.scopes import note_scopes

__all__ = ["assemble"]

# How names of what is added to a graph end; the last two stand between a weight and its mask.
_OURS: Final = (MASKED, SELECTED, INDEX, TABLE, ".flat", ".kept")


def assemble(model: ir.Model, checkpoint: NestedCheckpoint, input_names: Sequence[str]) -> CanonicalGraph:
    """Put the levels of a checkpoint into a graph, in place, and return it as a canonical graph.

    Args:
        model: The network with its dense weights as initializers under the checkpoint's names.
        checkpoint: Weights, level indices and tables under those names; what the graph never uses is dropped.
        input_names: What the inputs are to be called, in order.

    Raises:
        ExportError: When no nested weight is used by the network, or a name is taken.
        ContractError: When the result breaks the contract of format 1.
    """
    if model.functions:
        common.InlinePass()(model)
    _make_way(model)
    detached = detach(model, [*checkpoint.indices, *checkpoint.tables])
    if not any(name in checkpoint.indices for name in detached):
        raise ExportError(
            "No nested weight of the checkpoint is used by the network",
            found=", ".join(checkpoint.indices) or "no level index",
        )
    used = NestedCheckpoint(
        checkpoint.weights,
        {name: index for name, index in checkpoint.indices.items() if name in detached},
        {name: table for name, table in checkpoint.tables.items() if name in detached},
        checkpoint.ladder,
        checkpoint.provenance,
    )
    tidy(model)
    for value, name in zip(model.graph.inputs, input_names, strict=False):
        value.name = name  # an input that is also an output got the output's name
    attach(model, detached, used)
    note_scopes(model, detached)
    for value in [*model.graph.inputs, *model.graph.outputs]:
        value.metadata_props.clear()
    model.ir_version = IR_VERSION
    model.producer_name = "elsa-edge"
    ladder = used.ladder.measured(densities=used.densities)
    model.metadata_props[FORMAT_KEY] = FORMAT
    model.metadata_props[LADDER_KEY] = ladder.to_json()
    graph = CanonicalGraph(model, ladder, dict(checkpoint.provenance))
    ladder = ladder.measured(flops_fractions=flops_fractions(graph))
    model.metadata_props[LADDER_KEY] = ladder.to_json()
    return check_contract(CanonicalGraph(model, ladder, dict(checkpoint.provenance)))


def _make_way(model: ir.Model) -> None:
    """Call inner tensors otherwise that have a name which format 1 gives to a part of its own; in place."""
    ends = {id(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    made = [value for node in model.graph.all_nodes() for value in node.outputs if id(value) not in ends]
    taken = {value.name for value in made} | set(model.graph.initializers)
    for value in made:
        name = value.name or ""
        if name == LEVEL_INPUT or name.startswith(f"{LEVEL_INPUT}.") or name.endswith(_OURS):
            value.name = next(free for n in count(1) if (free := f"{name}.{n}") not in taken)
            taken.add(value.name)
