"""Which module each operator belongs to, so that viewers fold the graph: Model Explorer and others read `namespace`.

    operator of the module features.0.1        features/0/1
    mask of the weight features.0.0.weight     features/0/0/weight at its level
    table of features.0.1.running_mean         features/0/1/running_mean at its level
    check of the level                         level

Nothing else of what an exporter notes is kept: paths and stack traces of the user do not belong in a product.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Final

import onnx_ir as ir

__all__ = ["OWN", "SCOPE", "note_scopes"]

SCOPE: Final = "namespace"
# Operators that attach levels are called so.
OWN: Final = "elsa_edge/"
_TORCH_SCOPES: Final = "pkg.torch.onnx.name_scopes"
_LEVEL: Final = "level"


def note_scopes(model: ir.Model, weights: Collection[str]) -> None:
    """Put the scope of each operator in the place of all that its exporter noted, in place.

    Args:
        model: A graph with levels attached.
        weights: Names of the tensors that have an index or a table.
    """
    # The longest first: `a.weight` must not be taken for a tensor of `a`.
    ordered = sorted(weights, key=len, reverse=True)
    for node in model.graph.all_nodes():
        name = node.name or ""
        scope = _of_levels(name.removeprefix(OWN), ordered) if name.startswith(OWN) else _of_torch(node)
        node.metadata_props.clear()
        if scope:
            node.metadata_props[SCOPE] = scope


def _of_levels(value: str, weights: Collection[str]) -> str:
    weight = next((weight for weight in weights if value.startswith(f"{weight}.")), None)
    if weight is None:
        return _LEVEL
    return f"{weight.replace('.', '/')} at its level"


def _of_torch(node: ir.Node) -> str | None:
    """Return the path of the innermost module: torch notes the modules around a call, and then the call."""
    noted = node.metadata_props.get(_TORCH_SCOPES)
    if noted is None:
        return None
    try:
        scopes = ast.literal_eval(noted)
    except (ValueError, SyntaxError):
        return None
    modules = [scope for scope in scopes[:-1] if isinstance(scope, str)] if isinstance(scopes, list) else []
    return modules[-1].replace(".", "/") if modules else None
