"""Variants on disk for checking with other runtimes: levels, sparse and int8 of networks of the zoo."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from elsa_edge.bundle.golden import Golden
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.plugins import Exporter
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile, Tflite


def golden_for(graph: CanonicalGraph, batch: int = 3, seed: int = 0) -> Golden:
    """Return random golden inputs and the oracle's outputs; free sizes beside the batch become 7."""
    generator = np.random.default_rng(seed)
    inputs = {}
    for name, spec in graph.inputs.items():
        shape = [batch if axis == 0 and size is None else size or 7 for axis, size in enumerate(spec.shape)]
        if spec.dtype.startswith("int"):
            inputs[name] = generator.integers(0, 15, shape).astype(spec.dtype)
        else:
            inputs[name] = generator.standard_normal(shape).astype(spec.dtype)
    return Golden(inputs, run_canonical(graph, inputs))


def profile_with(**settings: object) -> DeviceProfile:
    """Return a profile with these TFLite settings."""
    return load_profile("generic-x86-64").model_copy(update={"tflite": Tflite(**settings)})


def write_variant_folder(
    folder: Path, exporter: Exporter, graph: CanonicalGraph, golden: Golden, **settings: object
) -> None:
    """Export into `folder` and put the description and the golden file beside, as check_variants.py wants them."""
    folder.mkdir(parents=True)
    variant = exporter.export(graph, profile_with(**settings), golden, folder)
    (folder / "variant.json").write_text(variant.model_dump_json())
    golden.save(folder / "golden.npz")
