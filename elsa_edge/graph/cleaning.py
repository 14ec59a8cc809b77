"""Tidy a graph: fold constants, drop what is unused, and leave weights, BatchNorm and names alone."""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.graph.constants import constant

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the folder reports what it skipped; skipping is fine here
        optimizer.fold_constants(model, should_fold=_is_foldable, **limits)


def _fix_reshapes(model: ir.Model) -> None:
    """Reshape(x, [batch of x, 96])  ->  Reshape(x, [-1, 96]),  in place, where only one size of the result is free.

    torch computes such targets from the input's shape at run time; as constants other passes and runtimes see them.
    """
    for node in model.graph:
        shape = node.outputs[0].shape
        if (
            node.op_type != "Reshape"
            or shape is None
            or node.inputs[1] is None
            or node.inputs[1].is_initializer()
        ):
            continue
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) == 1 and 0 not in sizes:
            wish = f"{node.outputs[0].name}.shape"
            node.replace_input_with(1, constant(model.graph, wish, np.array(sizes, np.int64)))


def tidy(model: ir.Model) -> None:
    """Remove what exporters leave behind, in place: no-op casts, zero biases, shape arithmetic, unused nodes."""
    from onnxscript import rewriter
    from onnxscript.rewriter.rules import common as rules

    fold_constants(model)
    _fix_reshapes(model)
    rewriter.RewritePass(
        [
            rules.remove_optional_bias_from_conv_rule,
            rules.remove_optional_bias_from_gemm_rule,
            rules.no_op_cast_rule,
            rules.no_op_expand_rule,
        ]
    )(model)
    for tidying in (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call] # onnx_ir left its __init__ untyped
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.ShapeInferencePass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        tidying(model)
