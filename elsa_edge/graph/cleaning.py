"""Tidy a graph: fold constants, drop what is unused, and leave weights, BatchNorm and names alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.constants import constant
from elsa_edge.graph.silence import silent

__all__ = ["fold_constants", "tidy"]

_ANY_SIZE = 1 << 62


def _is_foldable(node: ir.Node) -> bool | None:
    """Leave a weight's dense form alone (`None`: the folder's own rules); never unroll or evaluate control flow."""
    return False if node.op_type in ("If", "Loop", "Scan") else None


def fold_constants(model: ir.Model, *, any_size: bool = False) -> None:
    """Evaluate nodes whose inputs are all constant, in place.

    Args:
        model: The graph.
        any_size: Also fold large tensors (weights that torch slices or transposes); by default only small ones.
    """
    from onnxscript import optimizer

    limits = {"input_size_limit": _ANY_SIZE, "output_size_limit": _ANY_SIZE} if any_size else {}
    with silent():  # the folder reports what it skipped; skipping is fine here
        optimizer.fold_constants(model, should_fold=_is_foldable, **limits)


def _fix_reshapes(model: ir.Model) -> None:
    """Reshape(x, [batch of x, 96])  ->  Reshape(x, [-1, 96]),  in place, where at most one size of the result is free.

    torch computes such targets from the input's shape at run time; as constants other passes and runtimes see them. A
    size that the input has at the same place is copied (0), and so is not free.
    """
    for node in model.graph:
        source, shape = node.inputs[0] if node.inputs else None, node.outputs[0].shape
        if node.op_type != "Reshape" or shape is None or source is None:
            continue
        if node.inputs[1] is None or node.inputs[1].is_initializer():
            continue
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if 0 in sizes:
            continue
        keeps_zero = node.attributes.get("allowzero")
        copies = keeps_zero is None or keeps_zero.as_int() == 0
        if sizes.count(-1) > 1 and copies and source.shape is not None:
            known = list(source.shape)[: len(sizes)]
            sizes = [
                0 if size == -1 and place < len(known) and _same_size(shape[place], known[place]) else size
                for place, size in enumerate(sizes)
            ]
        if sizes.count(-1) <= 1:
            wish = f"{node.outputs[0].name}.shape"
            node.replace_input_with(1, constant(model.graph, wish, np.array(sizes, np.int64)))


def _same_size(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> bool:
    """Tell whether two sizes that are known at run time only have the same name."""
    return isinstance(a, ir.SymbolicDim) and isinstance(b, ir.SymbolicDim) and a.value is not None and a == b


_RECURRENT = ("LSTM", "GRU", "RNN")
_KEEPS_ZEROS = ("Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")


def _is_zero(value: ir.Value | None) -> bool:
    """Tell whether a value is zeros of any shape."""
    if value is None:
        return False
    if value.const_value is not None:
        return not np.any(value.const_value.numpy())
    node = value.producer()
    return node is not None and node.op_type in _KEEPS_ZEROS and _is_zero(node.inputs[0])


def _has_hidden_size(state: ir.Value | None, node: ir.Node) -> bool:
    """Tell whether a state fits its cell; one that does not is a mistake that must stay visible."""
    size = node.attributes.get("hidden_size")
    shape = None if state is None else state.shape
    return size is not None and shape is not None and len(shape) == 3 and shape[2] == size.as_int()


def _drop_zero_states(model: ir.Model) -> None:
    """LSTM(x, W, R, b, , zeros, zeros)  ->  LSTM(x, W, R, b),  in place: a state that is not given is zero.

    torch makes the zeros from the batch size, which is half a dozen operators at every inference.
    """
    for node in model.graph:
        if node.op_type in _RECURRENT and node.domain in ("", "ai.onnx"):
            for place in (5, 6):
                state = node.inputs[place] if place < len(node.inputs) else None
                if _is_zero(state) and _has_hidden_size(state, node):
                    node.replace_input_with(place, None)


class _DropIdentities(ir.passes.InPlacePass):
    """y = Identity(x)  ->  x,  in the main graph only.

    A branch of an If or the body of a Loop must not hand an outer value through as its output: there the Identity is
    required. In the main graph it is kept between an input or constant and an output, which need names of their own.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite `model` in place."""
        modified = False
        for node in list(model.graph):
            if node.op_type != "Identity" or node.domain not in ("", "ai.onnx"):
                continue
            source, result = node.inputs[0], node.outputs[0]
            if source is None:
                continue
            if result.is_graph_output():
                fixed = source.is_graph_input() or source.is_initializer() or source.is_graph_output()
                if fixed or source.producer() is None:
                    continue
                source.name, result.name = result.name, None
            ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
            if source.shape is None:
                source.shape = result.shape
            model.graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def tidy(model: ir.Model) -> None:
    """Remove what exporters leave behind, in place: no-op casts, zero biases, shape arithmetic, unused nodes."""
    from onnxscript import rewriter
    from onnxscript.rewriter.rules import common as rules

    passes = (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call] # onnx_ir left its __init__ untyped
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        _DropIdentities(),
        common.RemoveUnusedNodesPass(),
        common.ShapeInferencePass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )
    with silent():
        fold_constants(model)
        common.ShapeInferencePass()(model)  # names the sizes that exporters leave open
        _fix_reshapes(model)
        _drop_zero_states(model)
        rewriter.RewritePass(
            [
                rules.remove_optional_bias_from_conv_rule,
                rules.remove_optional_bias_from_gemm_rule,
                rules.no_op_cast_rule,
                rules.no_op_expand_rule,
            ]
        )(model)
        for tidying in passes:
            tidying(model)
