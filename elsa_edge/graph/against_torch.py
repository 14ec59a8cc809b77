"""The proof of an export: the graph computes what torch computes, at every level, batch and free size that is tried.

    max |graph - torch|  <=  max(1e-4, 8 * noise) * max |torch|          each output, each level

The noise is torch's own: its float32 result against its float64 result, see `elsa_edge.graph.noise`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ContractError, ElsaError, ExportError, first_line
from elsa_edge.graph.binding import Binding
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.dependence import depending_outputs, vocabularies
from elsa_edge.graph.noise import noise_between, noise_table, why_drowned, with_steps
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.proof.choosing import Trial, most_telling
from elsa_edge.proof.comparing import compare
from elsa_edge.proof.information import require_telling
from elsa_edge.proof.making import KINDS, Candidate, given, made, made_up
from elsa_edge.tensors import TensorSpec, largest_difference
from elsa_edge.trained import load_arrays

if TYPE_CHECKING:
    import torch

__all__ = ["differences_from_torch", "prove_equal", "torch_answers"]

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
_ADVICE: Final = "give real inputs with --data FILE.npz"
_LOOK: Final = "Look for values that depend on the batch size, randomness or training mode in the model"
_WHOLE: Final = (
    "Whole numbers must be equal. Where they are places of equal values (topk or argmax of ReLU outputs), every "
    "runtime chooses its own: break ties in the model, or keep the values alone with --outputs NAME"
)


def torch_answers(
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    feed: Arrays,
    names: Sequence[str],
    *,
    levels: Sequence[int] | None = None,
    exact: bool = False,
) -> list[dict[str, Array]]:
    """Return torch's outputs at each level, sparsest first; the model has its dense weights again afterwards.

    Args:
        checkpoint: Weights and levels.
        model: The network in float32; its forward returns the outputs in the order of `names`.
        binding: Which input feeds which argument.
        feed: Input name -> array.
        names: What the outputs are called.
        levels: Only these; None for all.
        exact: Compute in float64.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    arguments, keywords = binding.arguments(
        {n: a.astype(np.float64) if exact and a.dtype == np.float32 else a for n, a in feed.items()}
    )
    training = model.training
    model.eval()
    answers = []
    try:
        for level in range(len(checkpoint.ladder)) if levels is None else levels:
            load_arrays(model.float(), checkpoint.at_level(level))
            with torch.no_grad():
                result = (model.double() if exact else model)(*arguments, **keywords)
            leaves = [leaf.numpy() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            answers.append({name: np.array(leaf) for name, leaf in zip(names, leaves, strict=True)})
    finally:
        load_arrays(model.float(), checkpoint.weights)
        model.train(training)
    return answers


def differences_from_torch(
    graph: CanonicalGraph,
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    examples: Arrays,
    *,
    levels: Sequence[int] | None = None,
) -> tuple[dict[str, tuple[float, float]], ...]:
    """Return for each level: output -> largest |graph - torch| and largest |torch|.

    Args:
        graph: The export.
        checkpoint: What it was made of.
        model: The network; its forward returns the graph's outputs in their order.
        binding: Which input feeds which argument.
        examples: The inputs.
        levels: Only these; None for all.
    """
    expected = torch_answers(checkpoint, model, binding, examples, list(graph.outputs), levels=levels)
    found = run_canonical(graph, examples, range(len(graph.ladder)) if levels is None else levels)
    return tuple(
        {name: largest_difference(f[name], array) for name, array in e.items()}
        for f, e in zip(found, expected, strict=True)
    )


def prove_equal(
    graph: CanonicalGraph,
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    proofs: Sequence[Arrays],
    *,
    real: bool = False,
) -> CanonicalGraph:
    """Compare a graph with torch: on the first inputs at every level, on the others at the densest.

    Args:
        graph: The export.
        checkpoint: What it was made of.
        model: The network; its forward returns the graph's outputs in their order.
        binding: Which input feeds which argument.
        proofs: Inputs. Made-up ones are replaced by others of their shapes on which the outputs say more.
        real: Whether a person gave them.

    Returns:
        The graph with its float32 noise.

    Raises:
        ExportError: When the graph does not run.
        ContractError: When it computes something else, or a level does not follow its inputs.
        InputError: When the outputs say nothing on these inputs.
    """
    names, depending = list(graph.outputs), depending_outputs(graph.model)

    def by_torch(feed: Arrays) -> list[dict[str, Array]]:
        return torch_answers(checkpoint, model, binding, feed, names)

    candidates = _candidates(graph, proofs[0], real=real)
    trial = most_telling(candidates, by_torch, depending, graph.tolerance, advice=_ADVICE)
    noise = _noise(checkpoint, model, binding, trial, names)
    drowned = why_drowned(noise, depending, advice=_ADVICE)
    # Noise beyond all measure is not forgiven: it may be randomness.
    graph = replace(graph, noise={} if drowned else with_steps(graph.model, noise, trial.answers))
    densest = [len(graph.ladder) - 1]
    _require_equal(graph, checkpoint, model, binding, trial.inputs, levels=range(len(graph.ladder)))
    if drowned is not None:
        raise drowned
    for shapes in proofs[1:]:
        like = (
            shapes if real else made(_fixed(shapes), 1, kind=trial.kind, ranges=vocabularies(graph), seed=1)
        )
        _require_equal(graph, checkpoint, model, binding, like, levels=densest)
    levels = [level.name for level in graph.ladder]
    notes = require_telling(trial.silent, depending, levels, given=real, advice=_ADVICE)
    notes += trial.still
    return graph.with_provenance(proof={"inputs": trial.kind, "notes": notes})


def _fixed(arrays: Arrays) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, array.shape, str(array.dtype)) for name, array in arrays.items()}


def _candidates(graph: CanonicalGraph, first: Arrays, *, real: bool) -> Iterator[Candidate]:
    if real:
        yield given(graph.inputs, first)
    else:
        plain = next(iter(KINDS))
        other = made(_fixed(first), 1, kind=plain, ranges=vocabularies(graph), seed=2)
        yield Candidate(plain, first, (other,))
        yield from made_up(_fixed(first), 1, vocabularies(graph), seed=1)


def _noise(
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    trial: Trial,
    names: Sequence[str],
) -> dict[str, tuple[float, ...]]:
    """Return the float32 noise of each output; none where the network does not run in float64."""
    try:
        exact = torch_answers(checkpoint, model, binding, trial.inputs, names, exact=True)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return {}  # it makes float32 tensors of its own, which torch does not multiply with float64
    return noise_table([noise_between(a, b) for a, b in zip(trial.answers, exact, strict=True)])


def _require_equal(
    graph: CanonicalGraph,
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    examples: Arrays,
    *,
    levels: Sequence[int],
) -> None:
    try:
        expected = torch_answers(checkpoint, model, binding, examples, list(graph.outputs), levels=levels)
        found = run_canonical(graph, examples, levels)
    except ElsaError:
        raise
    except Exception as error:
        raise ExportError(
            f"The exported graph does not run ({first_line(error)})",
            found=_shapes(examples),
            fix="torch's exporter wrote one of the model's layers wrongly: use another form of that layer",
        ) from error
    for level, one, other in zip(levels, found, expected, strict=True):
        result = compare(one, other, partial(graph.tolerance, level=level))
        if not result.ok:
            raise ContractError(
                f"The exported graph does not compute what the model computes at level {graph.ladder[level].name}",
                expected=f"a difference of at most {result.allowed:.3g} in {result.output}",
                found=f"{result.difference:.3g} with {_shapes(examples)}",
                fix=_WHOLE if other[result.output].dtype.kind in "iub" else _LOOK,
            )


def _shapes(examples: Mapping[str, np.ndarray[Any, Any]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in examples.items())
