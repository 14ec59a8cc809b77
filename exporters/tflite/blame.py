"""Errors that name the operator, its node and its module, so that a person finds it in their own network."""

from __future__ import annotations

import re
from typing import Final

import onnx_ir as ir

from elsa_edge.errors import ExportError

__all__ = ["module_of", "no_tflite_form"]

# "features.0.weight" and "features.0.weight.masked" belong to the module "features.0".
_PARAMETER: Final = re.compile(r"\.(weight|bias|in_proj_weight|in_proj_bias)?(\.\w*)?$|\.[^.]*$")


def module_of(node: ir.Node) -> str:
    """Return the module that a node probably belongs to, from the name of the nearest weight."""
    pending: list[tuple[ir.Node, int]] = [(node, 0)]
    seen: set[ir.Node] = set()
    while pending:
        current, distance = pending.pop(0)
        if current in seen or distance > 4:
            continue
        seen.add(current)
        for value in current.inputs:
            if value is not None and value.is_initializer() and value.name and "." in value.name:
                where = "in" if distance == 0 else "near"
                return f", {where} module {_PARAMETER.sub('', value.name)}"
        neighbours = [value.producer() for value in current.inputs if value is not None]
        neighbours += [user for value in current.outputs for user, _ in value.uses()]
        pending += [(other, distance + 1) for other in neighbours if other is not None]
    return ""


def no_tflite_form(operator: str, node: ir.Node | None = None) -> ExportError:
    """Return the error for an operator that TFLite cannot express."""
    where = f" (node {node.name or node.outputs[0].name}{module_of(node)})" if node is not None else ""
    return ExportError(
        f"The operator {operator} has no TFLite form{where}",
        fix="Replace it in the module by operators that TFLite has, or build an ONNX Runtime variant (ort-switch)",
    )
