"""What branches of one graph have alike, stored once in the outer scope: weights with their packed indices, constants.

W      as the plain network of the densest level has it, where a sparser level's can be had from that (densest.py)
index  packed (passes/pack_index.py); a branch compares it with its own constant level
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.constants import constant, fresh_name
from elsa_edge.graph.densest import densest_weights
from elsa_edge.graph.names import INDEX
from elsa_edge.graph.passes.pack_index import decode_nodes

__all__ = ["mask_in_place", "share_constants", "share_masked_weights"]

_SMALLEST_SHARED_BYTES: Final = 4096


def share_masked_weights(
    outer: ir.Graph,
    graph: CanonicalGraph,
    branches: Sequence[ir.Graph],
    *,
    densest: ir.Model | None = None,
) -> None:
    """Move nested weights and their indices from branches that mask them into the outer scope.

    Args:
        outer: The graph that has the branches, or will have them.
        graph: The canonical graph.
        branches: Levels below the densest, from `at_level(..., fold=False)`.
        densest: The densest level, likewise, where it reads its weights from the outer scope as well.
    """
    readers = (
        {} if densest is None else {node.outputs[0].name: node for node in densest.graph if node.outputs}
    )
    for name, weight in densest_weights(graph, least_bytes=_SMALLEST_SHARED_BYTES).items():
        reader = readers.get(weight.result)
        if densest is not None and reader is None:
            continue
        stored = constant(outer, f"{name}.densest", weight.numbers)
        if reader is not None:
            reader.replace_input_with(weight.operand, stored)
        if not branches:
            continue
        restored = weight.restored(outer, stored, name)
        for branch in branches:
            original = branch.initializers.pop(name, None)
            if original is not None:
                original.replace_all_uses_with(restored)
    if densest is not None:
        common.RemoveUnusedNodesPass()(densest)
    _share_indices(outer, graph, branches if densest is None else [*branches, densest.graph])


def mask_in_place(model: ir.Model, graph: CanonicalGraph) -> None:
    """Let a level below the densest, from `at_level(..., fold=False)`, hold its weights as an outer scope does."""
    share_masked_weights(model.graph, graph, [model.graph])
    model.graph.sort()


def _share_indices(outer: ir.Graph, graph: CanonicalGraph, branches: Sequence[ir.Graph]) -> None:
    for name in graph.nested:
        users = [branch for branch in branches if name + INDEX in branch.initializers]
        if not users:
            continue
        flat, nodes = decode_nodes(outer, name, graph.index(name), len(graph.ladder))
        outer.extend(nodes)
        for branch in users:
            index = branch.initializers.pop(name + INDEX)
            for use in list(index.uses()):  # Reshape(index, [-1]) is what the flat codes are already
                use.node.outputs[0].replace_all_uses_with(flat)
                branch.remove(use.node, safe=True)


def share_constants(outer: ir.Graph, branches: Sequence[ir.Graph]) -> None:
    """Move constants that all branches have alike into the outer scope."""
    for name in list(branches[0].initializers):
        tensors = [
            branch.initializers[name].const_value for branch in branches if name in branch.initializers
        ]
        if len(tensors) != len(branches) or not _worth_sharing(tensors):
            continue
        first = tensors[0]
        assert first is not None
        shared = constant(outer, name, first.numpy())
        for branch in branches:
            branch.initializers.pop(name).replace_all_uses_with(shared, replace_graph_outputs=True)
    for branch in branches:
        _keep_convolutions_local(branch)


def _worth_sharing(tensors: Sequence[ir.TensorProtocol | None]) -> bool:
    """Whether tensors are alike and large; small ones and biases stay in the branches, where fusions look for them."""
    first = tensors[0]
    if first is None or first.nbytes < _SMALLEST_SHARED_BYTES or len(first.numpy().shape) < 2:
        return False
    return all(t is first or (t is not None and t.tobytes() == first.tobytes()) for t in tensors)


def _keep_convolutions_local(branch: ir.Graph) -> None:
    """Reshape shared weights that a convolution reads as they are.

    ONNX Runtime moves a convolution to its blocked layout only when the weight is a constant of the same graph; a
    reshaped one becomes that when it is folded.
    """
    for node in list(branch):
        weight = node.inputs[1] if node.op_type in ("Conv", "ConvTranspose") else None
        if weight is None or weight.graph is branch or weight.const_value is None:
            continue
        shape = constant(branch, f"{weight.name}.shape", np.array(weight.const_value.numpy().shape, np.int64))
        local = ir.node("Reshape", [weight, shape])
        local.outputs[0].name = fresh_name(branch, f"{weight.name}.local")
        branch.insert_before(node, local)
        node.replace_input_with(1, local.outputs[0])
