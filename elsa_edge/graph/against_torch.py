"""The proof of an export: the graph computes what torch computes, at every level, batch and free size that is tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ContractError, ElsaError, ExportError, first_line
from elsa_edge.graph.binding import Binding
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.tensors import largest_difference
from elsa_edge.trained import load_arrays

if TYPE_CHECKING:
    import torch

__all__ = ["differences_from_torch", "prove_equal"]

# The numeric contract of docs/architecture.md; float32 sums in another order stay far below it.
_RELATIVE_TOLERANCE: Final = 1e-4


def differences_from_torch(
    graph: CanonicalGraph,
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    examples: Mapping[str, np.ndarray[Any, Any]],
    *,
    levels: Sequence[int] | None = None,
) -> tuple[tuple[float, float], ...]:
    """Return for each level the largest |graph - torch| and the largest |torch| over all outputs.

    Args:
        graph: The export.
        checkpoint: What it was made of.
        model: The network; its forward returns the graph's outputs in their order.
        binding: Which input feeds which argument.
        examples: The inputs.
        levels: Only these; None for all.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    wanted = range(len(graph.ladder)) if levels is None else levels
    answers = run_canonical(graph, examples, wanted)
    arguments, keywords = binding.arguments(examples)
    training = model.training
    model.eval()
    found = []
    try:
        for level, answer in zip(wanted, answers, strict=True):
            load_arrays(model, checkpoint.at_level(level))
            with torch.no_grad():
                result = model(*arguments, **keywords)
            expected = [leaf.numpy() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            pairs = [largest_difference(a, e) for a, e in zip(answer.values(), expected, strict=True)]
            found.append((max(p[0] for p in pairs), max(p[1] for p in pairs)))
    finally:
        load_arrays(model, checkpoint.weights)
        model.train(training)
    return tuple(found)


def prove_equal(
    graph: CanonicalGraph,
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    proofs: Sequence[Mapping[str, np.ndarray[Any, Any]]],
) -> None:
    """Compare a graph with torch: on the first inputs at every level, on the others at the densest.

    Raises:
        ExportError: When the graph does not run.
        ContractError: When it computes something else.
    """
    for place, examples in enumerate(proofs):
        levels = range(len(graph.ladder)) if place == 0 else [len(graph.ladder) - 1]
        try:
            differences = differences_from_torch(graph, checkpoint, model, binding, examples, levels=levels)
        except ElsaError:
            raise
        except Exception as error:
            raise ExportError(
                f"The exported graph does not run ({first_line(error)})",
                found=_shapes(examples),
                fix="torch's exporter wrote one of the model's layers wrongly: use another form of that layer",
            ) from error
        for level, (difference, scale) in zip(levels, differences, strict=True):
            if not difference <= _RELATIVE_TOLERANCE * max(1.0, scale):
                raise ContractError(
                    f"The exported graph does not compute what the model computes at level {graph.ladder[level].name}",
                    expected=f"a difference of at most {_RELATIVE_TOLERANCE * max(1.0, scale):.3g}",
                    found=f"{difference:.3g} with {_shapes(examples)}",
                    fix="Look for values that depend on the batch size, randomness or training mode in the model",
                )


def _shapes(examples: Mapping[str, np.ndarray[Any, Any]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in examples.items())
