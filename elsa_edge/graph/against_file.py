"""The proof of levels in an ONNX file: at every level the graph computes what the file computes with masked weights.

max |graph - file with W * mask|  <=  max(1e-4, 8 * noise) * max |file|          each output, each level
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ContractError, ElsaError, InputError, first_line
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.dependence import depending_outputs, vocabularies
from elsa_edge.graph.noise import exact_trial, noise_by_jitter
from elsa_edge.graph.oracle import run_canonical, run_model
from elsa_edge.graph.sizes import free_sizes
from elsa_edge.levels import mask_at
from elsa_edge.proof.choosing import most_telling
from elsa_edge.proof.comparing import compare
from elsa_edge.proof.information import Answers, require_telling
from elsa_edge.proof.making import KINDS, given, made, made_up
from elsa_edge.tensors import check_inputs

__all__ = ["masked", "prove_equal_to_file"]

Array = npt.NDArray[Any]
_ADVICE: Final = "give real inputs with --data FILE.npz"
# Free sizes besides the batch, in the order in which they are tried: images, tokens, audio.
_FREE_SIZES: Final = (64, 224, 32, 16, 512, 576, 1024, 16000, 8, 2, 1)


def prove_equal_to_file(
    graph: CanonicalGraph,
    plain: ir.Model,
    checkpoint: NestedCheckpoint,
    inputs: Mapping[str, Array] | None,
) -> CanonicalGraph:
    """Compare each level with the file whose weights are masked by numpy.

    Args:
        graph: The graph with levels.
        plain: The file.
        checkpoint: Which weights are active at which level, and what differs by level.
        inputs: Real inputs; None makes some up.

    Returns:
        The graph with its float32 noise; `provenance["export"]` says which free sizes were taken.

    Raises:
        ContractError: When they differ, or a level does not follow its inputs.
        InputError: When the file does not run on the inputs, or its outputs say nothing on them.
    """

    def run(feed: Mapping[str, Array]) -> Answers:
        return run_canonical(graph, feed)

    depending, ranges = depending_outputs(graph.model), vocabularies(graph)
    if inputs is None:
        sizes = _sizes(graph, plain)
        candidates = made_up(graph.inputs, 2, ranges, seed=0, sizes=sizes)
    else:
        sizes = {}
        candidates = iter([given(graph.inputs, check_inputs(graph.inputs, inputs))])
    trial, noise = exact_trial(
        candidates,
        lambda some: most_telling(some, run, depending, graph.tolerance, advice=_ADVICE),
        lambda trial: noise_by_jitter(graph.model, _runner(graph, trial.inputs), trial.answers),
        depending,
        advice=_ADVICE,
    )
    levels = [level.name for level in graph.ladder]
    notes = require_telling(trial.silent, depending, levels, given=inputs is not None, advice=_ADVICE)
    notes += trial.still
    proved = replace(graph, noise=noise).with_provenance(
        export={"sizes": sizes}, proof={"inputs": trial.kind, "notes": notes}
    )
    for level, found in enumerate(trial.answers):
        expected = run_model(masked(plain, checkpoint, level), dict(trial.inputs))
        result = compare(found, expected, partial(proved.tolerance, level=level))
        if not result.ok:
            raise ContractError(
                f"The graph does not compute what the file computes at level {graph.ladder[level].name}",
                expected=f"a difference of at most {result.allowed:.3g} in {result.output}",
                found=f"{result.difference:.3g}",
            )
    return proved


def _runner(graph: CanonicalGraph, inputs: Mapping[str, Array]) -> Callable[[ir.Model], Answers]:
    return lambda model: run_canonical(replace(graph, model=model), inputs)


def masked(plain: ir.Model, checkpoint: NestedCheckpoint, level: int) -> ir.Model:
    """Return the file's network with the weights above a level set to zero, and the tables' row of that level."""
    cut = plain.clone()
    for name, index in checkpoint.indices.items():
        numbers = np.where(mask_at(index, level), checkpoint.weights[name], np.float32(0))
        cut.graph.initializers[name].const_value = ir.tensor(numbers, name=name)
    for name, rows in checkpoint.tables.items():
        cut.graph.initializers[name].const_value = ir.tensor(rows[level], name=name)
    return cut


def _sizes(graph: CanonicalGraph, plain: ir.Model) -> dict[str, int]:
    """Return free sizes other than the batch with which the file runs on some kind of made-up inputs."""
    reason = ""
    names, ranges = free_sizes(list(graph.inputs.values())), vocabularies(graph)
    for size in _FREE_SIZES:
        sizes = dict.fromkeys(names, size)
        for kind in KINDS:
            try:
                run_model(plain, made(graph.inputs, 2, kind=kind, ranges=ranges, sizes=sizes))
            except ElsaError:
                raise
            except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no common class
                reason = reason or first_line(error)
            else:
                return sizes
    raise InputError(
        f"The file does not run on random inputs ({reason})",
        fix="Give real ones for the proof: --data FILE.npz",
    )
