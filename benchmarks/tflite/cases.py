"""What is measured: networks with levels, and their TFLite variants as files in a folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.common.prepare import living_levels
from benchmarks.common.sessions import INPUT
from benchmarks.networks import NETS
from benchmarks.networks.settle import IMAGE
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.plugins import Exporter
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile, Runtime, Tflite
from elsa_edge.tensors import TensorSpec

__all__ = ["LADDER", "RUNTIME", "Case", "case", "export", "sparse_only", "written_bytes"]

LADDER: Final = (0.95, 0.9, 0.8, 0.0)
RUNTIME: Final = Runtime(name="litert")
_SAMPLES: Final = 16


@dataclass(frozen=True)
class Case:
    """A network with levels as a canonical graph, and its golden inputs and outputs."""

    name: str
    graph: CanonicalGraph
    golden: Golden


def case(name: str) -> Case:
    """Export a network of `NETS` with levels, and compute what its variants must answer."""
    return _of(name, name, LADDER)


def sparse_only(name: str) -> Case:
    """Return the same without its dense level."""
    return _of(f"{name}_sparse_only", name, LADDER[:-1])


def _of(called: str, network: str, ladder: tuple[float, ...]) -> Case:
    net = NETS[network]
    model, shape = net.factory(), net.input_shape
    graph = export_canonical(living_levels(model, shape, ladder), model, [TensorSpec("", shape)])
    graph = graph.with_input_names(INPUT)
    x = np.random.default_rng(0).standard_normal((_SAMPLES, *shape[1:])).astype(np.float32)
    few = {INPUT: x[:2] if len(shape) == len(IMAGE) else x}
    return Case(called, graph, Golden(few, run_canonical(graph, few)))


def _profile(calibration: Path, shape: tuple[int | None, ...], **settings: Any) -> DeviceProfile:
    """Return a profile; int8 gets random calibration inputs, which prove the plumbing and nothing about accuracy."""
    sizes = [_SAMPLES, *(size or 1 for size in shape[1:])]
    samples: dict[str, Any] = {INPUT: np.random.default_rng(1).standard_normal(sizes).astype(np.float32)}
    np.savez(calibration, **samples)
    tflite = Tflite(sparse_for_size=True, calibration=str(calibration), int8_changed_answers=1.0, **settings)
    return load_profile("generic-x86-64").model_copy(update={"tflite": tflite})


def export(exporter: Exporter, case: Case, folder: Path, **settings: Any) -> tuple[Variant, Path, float]:
    """Return the variant, its folder and the CPU seconds of this process that it took."""
    target = folder / f"{case.name}-{exporter.name}-{settings.get('packaging', 'auto')}"
    target.mkdir()
    profile = _profile(target.with_suffix(".npz"), case.graph.inputs[INPUT].shape, **settings)
    before = time.process_time()
    variant = exporter.export(case.graph, profile, case.golden, target)
    spent_s = time.process_time() - before
    (target / "variant.json").write_text(variant.model_dump_json())
    return variant, target, spent_s


def written_bytes(folder: Path) -> int:
    """Return the size of all TFLite files in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.tflite"))
