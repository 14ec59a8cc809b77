"""Golden inputs on which the network says something, and the oracle's answers to them at several batch sizes.

    try kinds of inputs until every output tells something at every level -> answers -> the same for another batch

A file that was converted for one batch runs others in pieces. That is right only where samples do not meet, so the
answers at two batch sizes are kept, neither of them a size that a file is fixed to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from elsa_edge.bundle import Golden
from elsa_edge.errors import ElsaError, InputError
from elsa_edge.proof.batches import WAYS, mixed, resized, samples_differ
from elsa_edge.proof.choosing import Trial, most_telling
from elsa_edge.proof.information import require_telling, told_apart
from elsa_edge.proof.making import given, made_up, sizes_unlike

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.tensors import TensorSpec

__all__ = ["golden_answers"]

Array = npt.NDArray[Any]
Inputs = Mapping[str, Array]
_ADVICE: Final = "give real inputs with --golden FILE.npz"


def golden_answers(
    graph: CanonicalGraph,
    real: Inputs | None,
    frozen: set[int],
    tell: Callable[[str], None],
    note: Callable[[str], None] | None = None,
) -> Golden:
    """Return golden inputs and the canonical graph's answers.

    Args:
        graph: The checked canonical graph.
        real: Real inputs that fit it; made-up ones of several kinds are tried when None.
        frozen: Batch sizes that a file may be fixed to.
        tell: Called with a line on what was chosen.
        note: Called with a sentence on each thing that these inputs do not prove; `tell` says them when None.

    Raises:
        InputError: When the outputs say nothing on these inputs, or the graph does not run on them.
        ContractError: When a level does not follow its inputs.
    """
    from elsa_edge.graph.dependence import depending_outputs, vocabularies
    from elsa_edge.graph.oracle import run_canonical

    unproved = note or (lambda sentence: tell(f"note: {sentence}"))

    def run(inputs: Inputs) -> tuple[dict[str, Array], ...]:
        return run_canonical(graph, inputs)

    specs, depending = graph.inputs, depending_outputs(graph.model)
    if real is None:
        sizes = graph.provenance.get("export", {}).get("sizes", {})
        candidates = made_up(specs, sizes_unlike(1, frozen)[0], vocabularies(graph), sizes=sizes)
    else:
        candidates = iter([given(specs, real)])
    trial = most_telling(candidates, run, depending, graph.tolerance, advice=_ADVICE)
    if real is None and trial.kind != "normal":
        tell(f"golden inputs are {trial.kind}: on normal ones the outputs say less")
    levels = [level.name for level in graph.ladder]
    for sentence in require_telling(trial.silent, depending, levels, given=real is not None, advice=_ADVICE):
        unproved(sentence)
    for part in trial.still:
        unproved(f"{part}; {_ADVICE}")
    further = [
        _another_batch(graph, trial, size, run=run, depending=depending, unproved=unproved)
        for size in _other_sizes(specs, trial.inputs, frozen)
    ]
    further += _that_move(graph, trial, further)
    return Golden(trial.inputs, tuple(trial.answers), tuple(further))


def _that_move(graph: CanonicalGraph, trial: Trial, further: Sequence[Golden]) -> list[Golden]:
    """Return the other inputs without which a level's answers would all be the same, for whoever checks a bundle."""
    axes = {name: spec.batch_axis for name, spec in graph.outputs.items()}
    batches = [trial.answers, *(batch.outputs for batch in further)]
    kept: list[Golden] = []
    for level in range(len(graph.ladder)):
        for inputs, answers in trial.others:
            if told_apart([batch[level] for batch in batches], axes):
                break
            if told_apart([trial.answers[level], answers[level]], axes):
                kept.append(Golden(inputs, tuple(answers)))
                batches.append(answers)
    return kept


def _another_batch(
    graph: CanonicalGraph,
    trial: Trial,
    size: int,
    *,
    run: Callable[[Inputs], tuple[dict[str, Array], ...]],
    depending: Collection[str],
    unproved: Callable[[str], None],
) -> Golden:
    """Return a batch of another size with its answers, some of its samples being answered otherwise than others.

    Raises:
        InputError: When all samples are the same to the network, so that nothing shows whether they meet.
    """
    axes = {
        name: spec.batch_axis
        for name, spec in graph.outputs.items()
        if name in depending and spec.batch_axis is not None
    }
    first: Golden | None = None
    refused: Exception | None = None
    for batch in _ways(graph.inputs, trial, size):
        try:
            answered = Golden(batch, run(batch))
        except ElsaError:
            raise
        except Exception as error:  # noqa: BLE001 - a change that the network does not take
            refused = error
            continue
        if not axes or samples_differ(axes, answered.outputs, graph.tolerance):
            return answered
        first = first or answered
    if first is None:
        assert refused is not None  # there is at least one way
        raise refused
    if all(first.outputs[0][name].dtype.kind != "f" for name in axes):
        unproved("All samples get the same class, so that samples do not meet in the network is not proved")
        return first
    raise InputError(
        "The samples of the golden inputs are the same to the network: nothing shows whether samples of a batch meet",
        fix="Give at least two different samples with --golden FILE.npz",
    )


def _ways(specs: Mapping[str, TensorSpec], trial: Trial, size: int) -> Iterator[Inputs]:
    """Yield batches of a size: the samples changed in every way, then those of other inputs among them."""
    yield from (resized(specs, trial.inputs, size, way) for way in WAYS)
    yield from (mixed(specs, trial.inputs, others, size) for others, _ in trial.others)


def _other_sizes(specs: Mapping[str, TensorSpec], inputs: Inputs, frozen: set[int]) -> list[int]:
    """Return further batch sizes: with the golden one there are two that no file is fixed to."""
    axes = {name: spec.batch_axis for name, spec in specs.items()}
    held = {inputs[name].shape[axis] for name, axis in axes.items() if axis is not None}
    if not held:
        return []
    return sizes_unlike(2 if held <= frozen else 1, frozen | held)
