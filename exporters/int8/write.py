"""Write a network in 8 bits: levels that agree share a branch of nested kernels, others are dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir

from elsa_edge.exporters.int8.choose import Kind
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.nested.file import Sizes, join, save

__all__ = ["write8"]


def write8(
    plan: Plan8, kinds: Sequence[Kind], dense_at: Callable[[int], ir.Model] | None, folder: Path
) -> tuple[int, ...]:
    """Write `model.onnx` and `model.data`.

    Args:
        plan: The layers in 8 bits.
        kinds: Of each level.
        dense_at: Level -> a dense 8-bit network of its own; None where no level is dense.
        folder: An existing folder.

    Returns:
        Bytes of weights that each level reads.
    """
    tensors, parts = plan.tensors()
    nested = [level for level, kind in enumerate(kinds) if kind == "nested"]
    spans = plan.spans(nested)
    branches = [(first, plan.branch(last)) for first, last in spans]
    if dense_at is not None:
        branches += [(level, dense_at(level)) for level, kind in enumerate(kinds) if kind == "dense"]
    branches.sort(key=lambda branch: branch[0])
    sizes: Sizes = save({"model": join(branches, tensors, plan.count, plan.graph.model.graph)}, folder, parts)
    owner = {level: first for first, last in spans for level in range(first, last + 1)}
    return tuple(
        (sum(sizes.parts[: level + 1]) if kind == "nested" else 0)
        + sizes.branches.get(owner.get(level, level), 0)
        for level, kind in enumerate(kinds)
    )
