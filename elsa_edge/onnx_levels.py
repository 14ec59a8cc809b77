"""ONNX file -> canonical graph with nested levels, without torch: cut by magnitude and proved equal to the file.

level k of the result  =  the file with the weights above level k set to zero,   at every level
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ContractError, ElsaError, ExportError, InputError, UsageError, first_line
from elsa_edge.files import sha256_of
from elsa_edge.graph.assemble import assemble
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.cut import cut
from elsa_edge.graph.dependence import depending_outputs, vocabularies
from elsa_edge.graph.multiplied import Factor, find_factors
from elsa_edge.graph.noise import noise_by_jitter
from elsa_edge.graph.onnx_file import read_onnx
from elsa_edge.graph.oracle import run_canonical, run_model
from elsa_edge.graph.sizes import free_sizes
from elsa_edge.inputs import read_inputs
from elsa_edge.levels import Ladder, mask_at
from elsa_edge.proof.choosing import Trial, most_telling
from elsa_edge.proof.comparing import compare
from elsa_edge.proof.information import Answers, require_telling
from elsa_edge.proof.making import KINDS, Candidate, given, made, made_up
from elsa_edge.proof.tolerance import LARGEST_NOISE, Tolerance

__all__ = ["nest_onnx"]

_ADVICE: Final = "give real inputs with --data FILE.npz"
_LARGE: Final = 0.01
# Free sizes besides the batch, in the order in which they are tried: images, tokens, audio.
_FREE_SIZES: Final = (64, 224, 32, 16, 512, 576, 1024, 16000, 8, 2, 1)


def nest_onnx(
    path: str | os.PathLike[str],
    ladder: Ladder | Sequence[float],
    *,
    granularity: str = "unstructured",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    inputs: str | os.PathLike[str] | None = None,
) -> tuple[CanonicalGraph, list[str]]:
    """Return a canonical graph made of an ONNX file, and sentences on what is nested.

    Args:
        path: The file, of any tool; opset 7 or newer, float32.
        ladder: Levels, or their sparsities, sparsest first.
        granularity: `unstructured`, `4x1`, `1x4` or `4x4`.
        include: Shell patterns on initializer names; empty takes every one that is multiplied with.
        exclude: Patterns of those that stay dense.
        inputs: An `.npz` of real inputs for the proof; random ones are made otherwise.

    Raises:
        ExportError: When the file cannot take levels; names what it holds.
        ContractError: When the graph does not compute what the file computes. It is then not returned.
        UsageError: When a pattern matches nothing.
    """
    source = Path(path)
    steps = ladder if isinstance(ladder, Ladder) else Ladder.from_sparsities(list(ladder))
    model = read_onnx(source)
    factors, reasons = find_factors(model.graph)
    chosen = _choose(model.graph, factors, include, exclude)
    weights = {factor.name: _numbers(model.graph, factor.name) for factor in chosen}
    facts: dict[str, Any] = {
        "command": "sparsify",
        "source": source.name,
        "source_sha256": sha256_of(source),
        "method": "magnitude",
        "granularity": granularity,
        "include": list(include),
        "exclude": list(exclude),
    }
    indices = cut(chosen, weights, steps, granularity)
    checkpoint = NestedCheckpoint(weights, indices, {}, steps, facts)
    plain = model.clone()
    names = [str(value.name) for value in model.graph.inputs]
    graph = assemble(model, checkpoint, names)
    graph = _prove(graph, plain, checkpoint, None if inputs is None else Path(inputs))
    return graph, _sentences(plain.graph, chosen, reasons)


def _numbers(graph: ir.Graph, name: str) -> npt.NDArray[np.float32]:
    tensor = graph.initializers[name].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float32)


def _branching(graph: ir.Graph) -> ir.Node | None:
    """Return a node with a network of its own in a branch or body, where there is one."""
    return next((node for node in graph if node.op_type in ("If", "Loop", "Scan")), None)


def _choose(
    graph: ir.Graph, factors: Sequence[Factor], include: Sequence[str], exclude: Sequence[str]
) -> list[Factor]:
    branching = _branching(graph)
    if not factors and branching is not None:
        raise ExportError(
            f"The file's weights lie inside {branching.op_type} {branching.name}, where no level reaches them",
            expected="weights that the main graph multiplies with",
            fix="Export the one branch that the device needs (such as one sample rate)",
        )
    if not factors:
        raise ExportError(
            "The file has no weight that can be sparse",
            expected="float32 initializers that Conv, MatMul, Gemm, LSTM or the like multiply with",
        )
    for pattern in (*include, *exclude):
        if not any(fnmatchcase(factor.name, pattern) for factor in factors):
            raise UsageError(
                f"The pattern {pattern!r} matches no weight that can be sparse",
                allowed=[factor.name for factor in factors[:12]],
            )
    chosen = [
        factor
        for factor in factors
        if (not include or any(fnmatchcase(factor.name, pattern) for pattern in include))
        and not any(fnmatchcase(factor.name, pattern) for pattern in exclude)
    ]
    if not chosen:
        raise UsageError("The include and exclude patterns leave no weight to make sparse")
    return chosen


def _prove(
    graph: CanonicalGraph, plain: ir.Model, checkpoint: NestedCheckpoint, inputs: Path | None
) -> CanonicalGraph:
    """Compare each level with the file whose weights are masked by numpy.

    Returns:
        The graph with its float32 noise; `provenance["export"]` says which free sizes were taken.
    """

    def run(feed: Mapping[str, npt.NDArray[Any]]) -> Answers:
        return run_canonical(graph, feed)

    depending, ranges = depending_outputs(graph.model), vocabularies(graph)
    if inputs is None:
        sizes = _sizes(graph, plain)
        candidates = list(made_up(graph.inputs, 2, ranges, seed=0, sizes=sizes))
    else:
        sizes = {}
        candidates = [given(graph.inputs, read_inputs(inputs, graph.inputs))]
    trial, noise = _exact_trial(graph, candidates, run, depending)
    levels = [level.name for level in graph.ladder]
    notes = require_telling(trial.silent, depending, levels, given=inputs is not None, advice=_ADVICE)
    proved = replace(graph, noise=noise).with_provenance(
        export={"sizes": sizes}, proof={"inputs": trial.kind, "notes": notes}
    )
    for level, found in enumerate(trial.answers):
        expected = run_model(_masked(plain, checkpoint, level), dict(trial.inputs))
        result = compare(found, expected, partial(_tolerance, proved, level))
        if not result.ok:
            raise ContractError(
                f"The graph does not compute what the file computes at level {graph.ladder[level].name}",
                expected=f"a difference of at most {result.allowed:.3g} in {result.output}",
                found=f"{result.difference:.3g}",
            )
    return proved


def _exact_trial(
    graph: CanonicalGraph,
    candidates: list[Candidate],
    run: Callable[[Mapping[str, npt.NDArray[Any]]], Answers],
    depending: Collection[str],
) -> tuple[Trial, dict[str, tuple[float, ...]]]:
    """Return the most telling inputs on which float32 computes every output, and the noise of each.

    Raises:
        InputError: When there are none: on all of them some output is as small as its own rounding.
    """
    while candidates:
        trial = most_telling(candidates, run, depending, graph.tolerance, advice=_ADVICE)
        asked = trial.inputs
        noise = noise_by_jitter(graph.model, _runner(graph, asked), trial.answers)
        drowned = [
            name for name, levels in noise.items() if name in depending and max(levels) >= LARGEST_NOISE
        ]
        if not drowned:
            return trial, noise
        candidates = [candidate for candidate in candidates if candidate.inputs is not asked]
    raise InputError(
        f"On these inputs {drowned[0]} is as small as its own rounding: a comparison would prove nothing",
        fix=_ADVICE[:1].upper() + _ADVICE[1:],
    )


def _runner(graph: CanonicalGraph, inputs: Mapping[str, npt.NDArray[Any]]) -> Callable[[ir.Model], Answers]:
    return lambda model: run_canonical(replace(graph, model=model), inputs)


def _tolerance(graph: CanonicalGraph, level: int, output: str) -> Tolerance:
    return graph.tolerance(output, level)


def _masked(plain: ir.Model, checkpoint: NestedCheckpoint, level: int) -> ir.Model:
    """Return the file's network with the weights above a level set to zero."""
    masked = plain.clone()
    for name, index in checkpoint.indices.items():
        numbers = np.where(mask_at(index, level), checkpoint.weights[name], np.float32(0))
        masked.graph.initializers[name].const_value = ir.tensor(numbers, name=name)
    return masked


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


def _sentences(plain: ir.Graph, chosen: Sequence[Factor], reasons: dict[str, str]) -> list[str]:
    sizes = {
        name: int(np.prod(value.const_value.shape.numpy()))
        for name, value in plain.initializers.items()
        if value.const_value is not None and value.dtype == ir.DataType.FLOAT
    }
    total = max(1, sum(sizes.values()))
    nested = {factor.name for factor in chosen}
    share = sum(sizes.get(name, 0) for name in nested) / total
    dense = [
        f"{name} ({size:,} weights) stays dense: {reasons.get(name, 'it was left out by a pattern')}."
        for name, size in sizes.items()
        if name not in nested and size > _LARGE * total
    ]
    return [f"{share:.1%} of the parameters are nested.", *dense]
