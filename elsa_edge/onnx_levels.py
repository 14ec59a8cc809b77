"""ONNX file -> canonical graph with nested levels, without torch: cut by magnitude and proved equal to the file.

level k of the result  =  the file with the weights above level k set to zero,   at every level
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.depthwise import without_depthwise
from elsa_edge.errors import ElsaError, ExportError, InputError, UsageError, first_line
from elsa_edge.files import sha256_of
from elsa_edge.graph.against_file import masked, prove_equal_to_file
from elsa_edge.graph.assemble import assemble
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.cut import cut
from elsa_edge.graph.multiplied import Factor, find_factors
from elsa_edge.graph.onnx_file import read_onnx
from elsa_edge.graph.statistics import places, tables
from elsa_edge.inputs import read_arrays
from elsa_edge.levels import Ladder, mask_at
from elsa_edge.progress import Tell, told

__all__ = ["nest_onnx"]

_LARGE: Final = 0.01


def nest_onnx(
    path: str | os.PathLike[str],
    ladder: Ladder | Sequence[float],
    *,
    granularity: str = "unstructured",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    inputs: str | os.PathLike[str] | None = None,
    outputs: Sequence[str] = (),
    prove: bool = True,
    progress: Tell | None = None,
) -> tuple[CanonicalGraph, list[str]]:
    """Return a canonical graph made of an ONNX file, and sentences on what is nested.

    Args:
        path: The file, of any tool; opset 7 or newer, float32.
        ladder: Levels, or their sparsities, sparsest first.
        granularity: `unstructured`, `4x1`, `1x4` or `4x4`.
        include: Shell patterns on initializer names; empty takes every one that is multiplied with.
        exclude: Patterns of those that stay dense.
        inputs: An `.npz` of real inputs: BatchNorm statistics and biases are put right on them at each level, and the
            proof takes them. Random inputs are made for the proof otherwise, and nothing is put right.
        outputs: Keep only these outputs or inner tensors; what only the others need is cut off.
        prove: Compare the graph with the file. Without it nothing may be built of the result: `preflight` only counts
            with it, also where a level is cut so far that its answers say nothing any more.
        progress: Called with a line for each step.

    Raises:
        ExportError: When the file cannot take levels; names what it holds.
        ContractError: When the graph does not compute what the file computes. It is then not returned.
        UsageError: When a pattern matches nothing.
    """
    source = Path(path)
    steps = ladder if isinstance(ladder, Ladder) else Ladder.from_sparsities(list(ladder))
    model = read_onnx(source, outputs)
    factors, reasons = find_factors(model.graph)
    chosen, said = _choose(model.graph, factors, include, exclude)
    reasons |= _left_out(factors, chosen, include, exclude)
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
    tell: Tell = progress or (lambda _: None)
    tell(told(f"choosing what {len(steps)} levels keep of {len(chosen)} weights", 0.1))
    indices = cut(chosen, weights, steps, granularity)
    plain = model.clone()
    names = [str(value.name) for value in model.graph.inputs]
    real = None if inputs is None else read_arrays(Path(inputs))
    put_right = {} if real is None else _put_right(plain, NestedCheckpoint(weights, indices, {}, steps), real)
    weights |= {name: rows[-1] for name, rows in put_right.items()}
    checkpoint = NestedCheckpoint(weights, indices, put_right, steps, facts | {"put_right": len(put_right)})
    graph = assemble(model, checkpoint, names)
    if prove:
        tell(told("comparing the graph with the file at every level", 0.4))
        graph = prove_equal_to_file(graph, plain, checkpoint, real)
    return graph, [*_sentences(plain.graph, chosen, reasons), *said, *_what_was_put_right(put_right)]


def _put_right(
    plain: ir.Model, checkpoint: NestedCheckpoint, arrays: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return BatchNorm statistics and biases of every level, measured on real inputs."""
    feed = {
        str(value.name): arrays[str(value.name)] for value in plain.graph.inputs if str(value.name) in arrays
    }
    if len(feed) < len(plain.graph.inputs):
        return {}  # the check of the inputs says which one is missing
    shaped = plain.clone()
    common.ShapeInferencePass()(shaped)
    found = places(shaped)
    if not found:
        return {}
    last = len(checkpoint.ladder) - 1
    dense = all(bool(mask_at(index, last).all()) for index in checkpoint.indices.values())
    levels = [
        shaped if level == last and dense else masked(shaped, checkpoint, level)
        for level in range(len(checkpoint.ladder))
    ]
    try:
        return tables(shaped, levels, found, feed)
    except ElsaError:
        raise
    except Exception as error:
        raise InputError(
            f"The file does not run on this data ({first_line(error)})", fix="Check names and shapes"
        ) from error


def _what_was_put_right(tables_of_levels: Mapping[str, Any]) -> list[str]:
    count = len(tables_of_levels)
    return (
        [f"{count} BatchNorm statistics and biases were put right at each level on the data."]
        if count
        else []
    )


def _numbers(graph: ir.Graph, name: str) -> npt.NDArray[np.float32]:
    tensor = graph.initializers[name].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float32)


def _branching(graph: ir.Graph) -> ir.Node | None:
    """Return a node with a network of its own in a branch or body, where there is one."""
    return next((node for node in graph if node.op_type in ("If", "Loop", "Scan")), None)


def _choose(
    graph: ir.Graph, factors: Sequence[Factor], include: Sequence[str], exclude: Sequence[str]
) -> tuple[list[Factor], list[str]]:
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
    chosen = [factor for factor in factors if _wanted(factor.name, include, exclude)]
    if not chosen:
        raise UsageError("The include and exclude patterns leave no weight to make sparse")
    return (chosen, []) if include else without_depthwise(chosen)


def _wanted(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    included = not include or any(fnmatchcase(name, pattern) for pattern in include)
    return included and not any(fnmatchcase(name, pattern) for pattern in exclude)


def _left_out(
    factors: Sequence[Factor], chosen: Sequence[Factor], include: Sequence[str], exclude: Sequence[str]
) -> dict[str, str]:
    """Return why weights that could be nested are not."""
    nested = {factor.name for factor in chosen}
    return {
        factor.name: "it is a depthwise convolution"
        if _wanted(factor.name, include, exclude)
        else "--include or --exclude leaves it out"
        for factor in factors
        if factor.name not in nested
    }


def _sentences(plain: ir.Graph, chosen: Sequence[Factor], reasons: dict[str, str]) -> list[str]:
    sizes = {
        name: int(np.prod(value.const_value.shape.numpy()))
        for name, value in plain.initializers.items()
        if value.const_value is not None and value.dtype == ir.DataType.FLOAT
    }
    # Biases and statistics are no news.
    matrices = {name for name in sizes if len(plain.initializers[name].shape or ()) > 1}
    total = max(1, sum(sizes.values()))
    nested = {factor.name for factor in chosen}
    share = sum(sizes.get(name, 0) for name in nested) / total
    dense = [
        f"{name} ({size:,} weights) stays dense: {reasons.get(name, 'nothing multiplies with it')}."
        for name, size in sizes.items()
        if name not in nested and size > _LARGE * total and name in matrices
    ]
    return [f"{share:.1%} of the parameters are nested.", *dense]
