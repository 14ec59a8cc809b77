"""Write a network in 8 bits: levels that agree share a branch of nested kernels, others are mixed or dense."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import onnx_ir as ir

from elsa_edge.bundle.instructions import plain_role
from elsa_edge.exporters.int8.candidates import Mix
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.nested.file import Sizes, join, save

__all__ = ["write8"]


def write8(
    plan: Plan8,
    mixes: Sequence[Mix],
    dense_at: Callable[[int], ir.Model] | None,
    folder: Path,
    *,
    plain: Collection[int] = (),
) -> tuple[int, ...]:
    """Write `model.onnx` and `model.data`.

    Args:
        plan: The layers in 8 bits.
        mixes: Of each level.
        dense_at: Level -> a dense 8-bit network of its own; None where every level is nested, with the rest in float.
        folder: An existing folder.
        plain: Dense levels that also get a file of their own, over the same data.

    Returns:
        Bytes of weights that each level reads.
    """
    tensors, parts = plan.tensors()
    spans = plan.spans([level for level, mix in enumerate(mixes) if mix.nested], mixes)
    branches = []
    for first, last in spans:
        dense = dense_at(last) if mixes[last].others_dense8 and dense_at is not None else None
        branches.append((first, plan.branch(last, mixes[last].nested, dense)))
    if dense_at is not None:
        branches += [(level, dense_at(level)) for level, mix in enumerate(mixes) if not mix.nested]
    branches.sort(key=lambda branch: branch[0])
    models = {"model": join(branches, tensors, plan.count, plan.graph.model.graph)}
    if dense_at is not None:
        models |= {plain_role(level): dense_at(level) for level in plain}
    sizes: Sizes = save(models, folder, parts)
    owner = {level: first for first, last in spans for level in range(first, last + 1)}
    return tuple(
        (sum(sizes.parts[: level + 1]) if mix.nested else 0) + sizes.branches.get(owner.get(level, level), 0)
        for level, mix in enumerate(mixes)
    )
