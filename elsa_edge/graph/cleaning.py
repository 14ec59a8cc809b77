"""Tidy a graph: fold constants, drop what is unused, and leave weights, BatchNorm and names alone."""

from __future__ import annotations

import warnings

import onnx_ir as ir
from onnx_ir.passes import common

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


def tidy(model: ir.Model) -> None:
    """Remove what exporters leave behind, in place: no-op casts, optional zero biases, unused and repeated nodes."""
    from onnxscript import rewriter
    from onnxscript.rewriter.rules import common as rules

    fold_constants(model)
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
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        tidying(model)
