"""All levels in one graph, each with its own branch, chosen at run time:

    level < m ? (levels below m) : (levels from m)          a balanced tree of If nodes, one leaf a level

Dense weights and packed indices are stored once, in the outer scope. A branch masks them with its own constant level,
so that a runtime which folds constants at load gives every branch plain weights: no work is left per inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.names import INDEX, IR_VERSION, LEVEL_INPUT, OPSET
from elsa_edge.graph.numbers import constant
from elsa_edge.graph.passes.pack_index import decode_nodes

__all__ = ["level_cascade"]


def level_cascade(graph: CanonicalGraph) -> ir.Model:
    """Return one graph with the inputs of `graph`, its level input, and a branch for every level."""
    count = len(graph.ladder)
    branches = [at_level(graph, level, fold=False).graph for level in range(count)]
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
    _share_constants(outer, branches, graph)
    checked = _checked_level(outer, level, count)
    for k, branch in enumerate(branches):
        for inner, given in zip(list(branch.inputs), outer.inputs, strict=False):
            inner.replace_all_uses_with(given, replace_graph_outputs=True)
        branch.inputs.clear()
        _make_private(branch, f"{k}/")
    outputs = [ir.Value(name=v.name, shape=v.shape, type=v.type) for v in graph.model.graph.outputs]
    choice = _Chooser(outer, checked, outputs).choose(branches, 0, outputs)
    outer.append(choice)
    outer.outputs.extend(choice.outputs)
    model = ir.Model(outer, ir_version=IR_VERSION, producer_name="elsa-edge")
    common.OutputFixPass()(model)
    common.RemoveUnusedNodesPass()(model)
    return model


def _share_constants(outer: ir.Graph, branches: Sequence[ir.Graph], graph: CanonicalGraph) -> None:
    """Move constants that all branches have alike, and the packed indices, into the outer scope."""
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
    for name in list(branches[0].initializers):
        values = [branch.initializers.get(name) for branch in branches]
        tensors = [
            value.const_value for value in values if value is not None and value.const_value is not None
        ]
        if len(tensors) != len(branches):
            continue
        first = tensors[0].numpy()
        if all(
            t is tensors[0]
            or (
                t.dtype == tensors[0].dtype
                and np.array_equal(t.numpy(), first, equal_nan=t.dtype.is_floating_point())
            )
            for t in tensors[1:]
        ):
            shared = constant(outer, name, first)
            for branch in branches:
                branch.initializers.pop(name).replace_all_uses_with(shared, replace_graph_outputs=True)


def _checked_level(outer: ir.Graph, level: ir.Value, count: int) -> ir.Value:
    """Add  Gather([0..count-1], level < 0 ? count : level),  which fails out of range."""
    zero = constant(outer, "level.zero", np.array(0, np.int64))
    over = constant(outer, "level.count", np.array(count, np.int64))
    allowed = constant(outer, "level.allowed", np.arange(count, dtype=np.int64))
    negative = ir.node("Less", [level, zero])
    legal = ir.node("Where", [negative.outputs[0], over, level])
    checked = ir.node("Gather", [allowed, legal.outputs[0]], {"axis": 0})
    for node, name in ((negative, "level.negative"), (legal, "level.or_count"), (checked, "level.chosen")):
        node.outputs[0].name = name
        outer.append(node)
    return checked.outputs[0]


def _make_private(branch: ir.Graph, prefix: str) -> None:
    """Give every name of a branch its level's prefix: names are unique over all scopes."""
    for name in list(branch.initializers):
        value = branch.initializers.pop(name)
        value.name = prefix + name
        branch.register_initializer(value)
    for node in branch.all_nodes():
        node.name = prefix + (node.name or node.op_type)
        for output in node.outputs:
            output.name = prefix + str(output.name)


@dataclass(frozen=True)
class _Chooser:
    """Builds the tree of If nodes in the outer graph.

    Attributes:
        outer: The graph that owns constants and comparisons.
        checked: The level, after the guard.
        outputs: The network's outputs: names, types and shapes for every branch.
    """

    outer: ir.Graph
    checked: ir.Value
    outputs: Sequence[ir.Value]

    def choose(self, branches: Sequence[ir.Graph], first: int, results: Sequence[ir.Value]) -> ir.Node:
        """Return the If node for the levels first..first+len(branches)-1, which computes `results`."""
        middle = max(1, len(branches) // 2)
        label = f"levels_{first}_{first + len(branches) - 1}"
        bound = constant(self.outer, f"{label}.bound", np.array(first + middle, np.int64))
        below = ir.node("Less", [self.checked, bound])
        below.outputs[0].name = f"{label}.below"
        self.outer.append(below)
        bodies = {
            "then_branch": self._body(branches[:middle], first, f"{label}.then"),
            "else_branch": self._body(branches[middle:], first + middle, f"{label}.else"),
        }
        return ir.node("If", [below.outputs[0]], bodies, outputs=list(results), name=label)

    def _body(self, branches: Sequence[ir.Graph], first: int, label: str) -> ir.Graph:
        """Return the subgraph for some levels: a leaf, another choice, or (ladder of one level) an unreachable one."""
        if len(branches) == 1:
            return branches[0]
        inner = [ir.Value(name=f"{label}/{v.name}", shape=v.shape, type=v.type) for v in self.outputs]
        nodes = [self.choose(branches, first, inner)] if branches else [self._empty(value) for value in inner]
        return ir.Graph(inputs=[], outputs=inner, nodes=nodes, name=label)

    def _empty(self, value: ir.Value) -> ir.Node:
        """Return a node that makes an empty tensor of a value's type and rank; never executed."""
        assert value.shape is not None
        assert value.dtype is not None
        shape = constant(self.outer, f"{value.name}.empty", np.zeros(len(value.shape), np.int64))
        fill = ir.tensor(np.zeros(1, value.dtype.numpy()))
        return ir.node("ConstantOfShape", [shape], {"value": fill}, outputs=[value])
