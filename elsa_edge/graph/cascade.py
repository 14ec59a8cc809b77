"""All levels in one graph, each with its own branch, chosen at run time:

    level < m ? (levels below m) : (levels from m)          a balanced tree of If nodes, one leaf per level

Each small node before the leaf costs some microseconds, because the weights of the last inference have driven its code
out of the caches: a comparison is therefore one look-up in a table of booleans, which refuses a level that is too high
by itself, and a single branch that refuses wrong levels itself needs no If.

Weights and packed indices are stored once, in the outer scope (outer_scope.py). A branch masks them with its own
constant level, so that a runtime which folds constants at load gives every branch plain weights: no work is left per
inference.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.constants import constant
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.names import IR_VERSION, LEVEL_INPUT, OPSET
from elsa_edge.graph.outer_scope import share_constants, share_masked_weights

__all__ = ["choose_by_level", "level_cascade"]


def level_cascade(graph: CanonicalGraph, *, keep_dead: Collection[int] = ()) -> ir.Model:
    """Return one graph with the inputs of `graph`, its level input, and a branch for every level.

    Args:
        graph: The canonical graph.
        keep_dead: Levels that keep channels which are zero there.
    """
    count = len(graph.ladder)
    models = [
        at_level(graph, level, drop_dead_channels=level not in keep_dead, fold=False)
        for level in range(count)
    ]
    branches = [model.graph for model in models]
    outer = ir.Graph(
        inputs=[
            ir.Value(name=value.name, shape=value.shape, type=value.type) for value in branches[0].inputs
        ],
        outputs=[],
        nodes=[],
        opset_imports={"": OPSET},
        name="level_cascade",
    )
    level = ir.Value(name=LEVEL_INPUT, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
    outer.inputs.append(level)
    share_masked_weights(outer, graph, branches[:-1], densest=models[-1])
    share_constants(outer, branches)
    for branch in branches:
        for inner, given in zip(list(branch.inputs), outer.inputs, strict=False):
            inner.replace_all_uses_with(given, replace_graph_outputs=True)
        branch.inputs.clear()
    choose_by_level(outer, level, count, list(enumerate(branches)), graph.model.graph.outputs)
    model = ir.Model(outer, ir_version=IR_VERSION, producer_name="elsa-edge")
    common.OutputFixPass()(model)
    common.RemoveUnusedNodesPass()(model)
    return model


def choose_by_level(
    outer: ir.Graph,
    level: ir.Value,
    count: int,
    branches: Sequence[tuple[int, ir.Graph]],
    outputs: Sequence[ir.Value],
    *,
    first_refuses: bool = False,
) -> None:
    """Append to `outer` the guard on the level and the tree of If nodes, and make its results the graph's outputs.

    Args:
        outer: The graph that has the inputs and shared constants; branches read them from there.
        level: Its level input.
        count: Levels of the ladder.
        branches: (first level, graph without inputs), by rising level; a branch serves all levels up to the next.
        outputs: Names, types and shapes of the network's outputs.
        first_refuses: The first branch itself fails at a level that is not in the ladder.
    """
    for k, branch in branches:
        _make_private(branch, f"{k}/")
    if first_refuses and len(branches) == 1:
        _inline(outer, branches[0][1], outputs)
        return
    legal = _not_below_zero(outer, level) if first_refuses else _negative_to_count(outer, level, count)
    results = [ir.Value(name=v.name, shape=v.shape, type=v.type) for v in outputs]
    choice = _Chooser(outer, legal, count, results).choose(branches, results)
    outer.append(choice)
    outer.outputs.extend(choice.outputs)


def _not_below_zero(outer: ir.Graph, level: ir.Value) -> ir.Value:
    """Add  Max(level, 0):  a negative level goes to the first branch, which refuses it."""
    zero = constant(outer, "level.zero", np.array(0, np.int64))
    legal = ir.node("Max", [level, zero])
    legal.outputs[0].name = "level.not_below_zero"
    outer.append(legal)
    return legal.outputs[0]


def _negative_to_count(outer: ir.Graph, level: ir.Value, count: int) -> ir.Value:
    """Add  level < 0 ? count : level:  Gather counts negative indices from the end, and must refuse them here."""
    zero = constant(outer, "level.zero", np.array(0, np.int64))
    over = constant(outer, "level.count", np.array(count, np.int64))
    negative = ir.node("Less", [level, zero])
    legal = ir.node("Where", [negative.outputs[0], over, level])
    for node, name in ((negative, "level.negative"), (legal, "level.or_count")):
        node.outputs[0].name = name
        outer.append(node)
    return legal.outputs[0]


def _inline(outer: ir.Graph, branch: ir.Graph, outputs: Sequence[ir.Value]) -> None:
    """Move a branch into the outer graph."""
    results = list(branch.outputs)
    branch.outputs.clear()  # first: an initializer that is an output belongs to its graph until it is none
    for name in list(branch.initializers):
        outer.register_initializer(branch.initializers.pop(name))
    nodes = list(branch)
    branch.remove(nodes)
    outer.extend(nodes)
    for made, like in zip(results, outputs, strict=True):
        result = ir.node("Identity", [made])  # the runtime removes it; an output may be a second one's twin
        result.outputs[0].name, result.outputs[0].shape, result.outputs[0].type = (
            like.name,
            like.shape,
            like.type,
        )
        outer.append(result)
        outer.outputs.append(result.outputs[0])


def _make_private(branch: ir.Graph, prefix: str) -> None:
    """Give every name of a branch its level's prefix: names are unique over all scopes."""
    for name in list(branch.initializers):
        value = branch.initializers.pop(name)
        value.name = prefix + name
        branch.register_initializer(value)
    for node in branch.all_nodes():
        node.name = prefix + (node.name or node.op_type)
        for output in node.outputs:
            # An output without a name is one that nobody reads; a name would make it a result to be computed.
            if output.name:
                output.name = prefix + output.name


@dataclass(frozen=True)
class _Chooser:
    """Builds the tree of If nodes in the outer graph.

    Attributes:
        outer: The graph that owns constants and comparisons.
        legal: The level, after the guard: never negative.
        count: Levels of the ladder.
        outputs: The network's outputs: names, types and shapes for every branch.
    """

    outer: ir.Graph
    legal: ir.Value
    count: int
    outputs: Sequence[ir.Value]

    def choose(self, branches: Sequence[tuple[int, ir.Graph]], results: Sequence[ir.Value]) -> ir.Node:
        """Return the If node for some levels, which computes `results`."""
        middle = (len(branches) + 1) // 2  # the densest levels take the shorter way
        first, last = branches[0][0], branches[-1][0]
        label = f"levels_{first}_{last}"
        border = branches[middle][0] if middle < len(branches) else self.count  # one branch serves all
        is_below = constant(self.outer, f"{label}.is_below", np.arange(self.count) < border)
        below = ir.node("Gather", [is_below, self.legal], {"axis": 0})
        below.outputs[0].name = f"{label}.below"
        self.outer.append(below)
        bodies = {
            "then_branch": self._body(branches[:middle], f"{label}.then"),
            "else_branch": self._body(branches[middle:], f"{label}.else"),
        }
        return ir.node("If", [below.outputs[0]], bodies, outputs=list(results), name=label)

    def _body(self, branches: Sequence[tuple[int, ir.Graph]], label: str) -> ir.Graph:
        """Return the subgraph for some levels: a leaf, another choice, or (only one leaf) an unreachable one."""
        if len(branches) == 1:
            return branches[0][1]
        inner = [ir.Value(name=f"{label}/{v.name}", shape=v.shape, type=v.type) for v in self.outputs]
        nodes = [self.choose(branches, inner)] if branches else [self._empty(value) for value in inner]
        return ir.Graph(inputs=[], outputs=inner, nodes=nodes, name=label)

    def _empty(self, value: ir.Value) -> ir.Node:
        """Return a node that makes an empty tensor of a value's type and rank; never executed."""
        assert value.shape is not None
        assert value.dtype is not None
        shape = constant(self.outer, f"{value.name}.empty", np.zeros(len(value.shape), np.int64))
        fill = ir.tensor(np.zeros(1, value.dtype.numpy()))
        return ir.node("ConstantOfShape", [shape], {"value": fill}, outputs=[value])
