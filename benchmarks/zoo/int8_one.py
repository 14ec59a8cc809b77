"""One library network in 8 bits, in a process of its own: what breaks or hangs there costs one row and no other.

    over_int8[k] = median over rounds of (time of the dense 8-bit network / time of level k), in turns, one thread

What is timed is what a bundle would have: `nested-int8` where it is built; else `ort-int8`; else nothing in 8 bits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from benchmarks.common import Row
from benchmarks.common.sessions import open_variant, profile_for
from benchmarks.latency.timing import here, row_of, take_turns
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ExportError, first_line
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter, OrtInt8Exporter
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.files import write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.quantise.samples import inferences
from elsa_edge.tensors import TensorSpec

__all__ = ["measured"]

_SAMPLES: Final = 16

Array = npt.NDArray[Any]


def measured(graph_file: str, turns_s: float) -> Row:
    """Put a network in 8 bits as a build does, and time every level.

    Args:
        graph_file: Its canonical graph.
        turns_s: Seconds to spend on timing; large networks get fewer rounds.

    Returns:
        Columns of a row. `kernels` tells what computes each level, `float_layers` how many layers stay float32,
        `difference` how far each level is from float32, of weights that are made up.
    """
    graph = CanonicalGraph.load(Path(graph_file))
    samples = _samples(graph.inputs)
    with tempfile.TemporaryDirectory(prefix="elsa-zoo-") as temporary:
        folder = Path(temporary)
        rival = folder / "rival.onnx"
        last = dense8(graph, len(graph.ladder) - 1, samples, profile_for("nested-int8"))
        write_bytes(rival, ir.to_proto(last).SerializeToString())
        reasons = []
        # Random weights change their mind easily: here only speed is asked for.
        for exporter in (NestedInt8Exporter(strict=False), OrtInt8Exporter(strict=False)):
            target = folder / exporter.name
            target.mkdir()
            try:
                variant = exporter.export(graph, profile_for(exporter.name), Golden(samples, ()), target)
            except ExportError as error:
                reasons.append(f"{exporter.name}: {first_line(error)}")
                continue
            timed = _timed(variant, next(inferences(graph.inputs, samples)), rival, target, turns_s)
            return timed | _told(variant, graph) | {"note": " ".join(reasons)}
    ones = [1.0] * len(graph.ladder)
    return {"over_int8": ones, "variant": None, "note": " ".join(reasons)}


def _samples(inputs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """Return made-up inputs; numbers of tokens, kinds and masks alike are 0 or 1."""
    random = np.random.default_rng(1)
    found: dict[str, Array] = {}
    for name, spec in inputs.items():
        shape = (_SAMPLES, *(size or 1 for size in spec.shape[1:]))
        whole = np.issubdtype(np.dtype(spec.dtype), np.integer)
        values = random.integers(0, 2, shape) if whole else random.standard_normal(shape)
        found[name] = values.astype(spec.dtype)
    return found


def _timed(variant: Variant, one: Mapping[str, Array], rival: Path, folder: Path, turns_s: float) -> Row:
    """Return the ratio of every level to the dense 8-bit network, opened as an application would."""
    session = open_variant(folder, variant, profile_for(variant.name).runtime)
    levels = range(session.level_count)
    runs = {"int8": here(partial(open_session(rival).run, None, dict(one)))}
    runs |= {str(k): here(partial(session.run, one, k)) for k in levels}
    times = take_turns(runs, budget_s=turns_s)
    told = [row_of(times[str(k)], times["int8"], 1) for k in levels]
    return {
        "over_int8": [one["speedup"] for one in told],
        "int8_ms": row_of(times["int8"], times["int8"], 1)["median_ms"],
        "rounds": told[0]["rounds"],
    }


def _told(variant: Variant, graph: CanonicalGraph) -> Row:
    """Return what the variant says of itself."""
    notes = variant.notes
    return {
        "variant": variant.name,
        "kernels": notes.get("kernels", [variant.name] * len(notes["difference"])),
        "plain_levels": notes["plain_levels"],
        "narrow_dense": graph.provenance.get("narrow_dense", 0),
        "difference": notes["difference"],
        "int8_multiply_adds": notes["int8_multiply_adds"],
        "float_layers": len(notes.get("float_layers", {})),
        "float_reasons": sorted(set(notes.get("float_layers", {}).values())),
    }
