"""Rows of figures: numbers and sizes of each variant, several levels in one file, int8 on a trained network, speed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.common import Row, in_subprocess, interleaved
from benchmarks.common.sessions import INPUT, open_variant
from benchmarks.tflite.apart import image_shape
from benchmarks.tflite.cases import LADDER, RUNTIME, Case, case, export, sparse_only, written_bytes
from benchmarks.tflite.claims import TRAINED
from elsa_edge.bundle.golden import Golden, largest_difference
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.tflite.int8 import TfliteInt8Exporter
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.exporters.tflite.sparse import TfliteSparseExporter
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.plugins import Exporter, Opened
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import Tflite
from elsa_edge.tensors import TensorSpec

__all__ = ["on_the_stand_in", "one_file", "trained_int8", "variants"]

_EXPORTERS: Final[tuple[type[Exporter], ...]] = (
    TfliteLevelsExporter,
    TfliteSparseExporter,
    TfliteInt8Exporter,
)
_LAST: Final = len(LADDER) - 1


def variants(measured: Case, folder: Path) -> Iterator[Row]:
    """Yield a row per variant: its numbers against the oracle, its bytes and what the export took.

    Its files stay in `folder`, in `NETWORK-VARIANT-files`.
    """
    for make in _EXPORTERS:
        variant, target, spent_s = export(make(), measured, folder, packaging="files")
        adapter = open_variant(target, variant, RUNTIME)
        worst = _worst(adapter, measured.golden)
        adapter.close()
        yield {
            "network": measured.name,
            "variant": variant.name,
            "difference": worst,
            "allowed": variant.relative_tolerance,
            "bytes_by_level": [_level(target, variant, k).stat().st_size for k in range(len(LADDER))],
            "export_cpu_s": round(spent_s, 2),
        }


def _level(folder: Path, variant: Variant, level: int) -> Path:
    return folder / variant.files[f"level_{level}"]


def _worst(adapter: Opened, golden: Golden) -> float:
    """Return the largest difference from the oracle over all levels, relative to max(1, largest output)."""
    worst = 0.0
    for level, expected in enumerate(golden.outputs):
        found = adapter.run(golden.inputs, level)
        for name, value in expected.items():
            difference, scale = largest_difference(found[name], value)
            worst = max(worst, difference / max(1.0, scale))
    return worst


def one_file(network: str, folder: Path, rounds: int) -> Iterator[Row]:
    """Yield what several levels in one file cost: size, switching, memory. `variants` was there before."""
    files = folder / f"{network}-tflite-levels-files"
    _, together, _ = export(TfliteSparseExporter(), sparse_only(network), folder, packaging="signatures")
    yield {
        "network": network,
        "variant": "three sparse levels in one file",
        "bytes": written_bytes(together),
        "dense_bytes": (files / f"level_{_LAST}.tflite").stat().st_size,
    }
    variant, target, _ = export(TfliteLevelsExporter(), case(network), folder, packaging="signatures")
    yield _switching(network, target, variant, rounds)
    for what, levels in (
        ("one interpreter", [_LAST]),
        ("lowest-RAM mode, all levels in turn", [0, 1, 2, _LAST, 0, _LAST]),
    ):
        used = in_subprocess("benchmarks.tflite.apart:resident", str(files), levels)
        yield {"network": network, "variant": what, "anonymous_bytes": used}


def _switching(network: str, folder: Path, variant: Variant, rounds: int) -> Row:
    """Compare an inference right after a switch of signature with the mean of both levels' warm inferences."""
    adapter = open_variant(folder, variant, RUNTIME)
    shape = image_shape(variant)
    x = {INPUT: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    low, high = 0, len(LADDER) - 1

    def warm() -> None:
        for level in (low, high):
            adapter.run(x, level)
            adapter.run(x, level)

    def switching() -> None:
        for level in (low, high, low, high):
            adapter.run(x, level)

    times = interleaved({"warm": warm, "switching": switching}, rounds=rounds)
    adapter.close()
    # `warm` switches twice in four runs, `switching` four times: their difference is that of two switches.
    extra_s = float(np.median(times["switching"]) - np.median(times["warm"])) / 2
    run_s = float(np.median(times["warm"])) / 4
    value = 1 + max(0.0, extra_s) / run_s
    return {"network": network, "variant": "switch between signatures", "ratio": value}


def on_the_stand_in(folder: Path, rounds: int) -> Row:
    """Time MobileNetV1 at 90 % zeros against dense, without AVX."""
    measured, paths = case("mobilenet_v1"), []
    for exporter in (TfliteLevelsExporter(), TfliteSparseExporter()):
        variant, target, _ = export(exporter, measured, folder, packaging="files")
        paths.append(str(_level(target, variant, 1)))
    found = in_subprocess("benchmarks.tflite.apart:stand_in", *paths, rounds)
    return {"network": measured.name, "variant": "90 % sparse on the SSE stand-in", **found}


def trained_int8(folder: Path) -> Row:
    """Return the accuracy of int8 and of float at every level of a trained network."""
    from elsa_edge.checkpoint import NestedCheckpoint
    from examples.cnn import tiny

    data = Path(__file__).parents[2] / "tests" / "data"
    images = np.load(data / "fashion_test.npz")
    x = ((images["images"].reshape(-1, 1, 28, 28) / 255 - 0.2860) / 0.3530).astype(np.float32)
    graph = export_canonical(
        NestedCheckpoint.load(data / "fashion.safetensors"), tiny(), [TensorSpec("", (1, 1, 28, 28))]
    ).with_input_names(INPUT)
    answers = run_canonical(graph, {INPUT: x})
    golden = Golden(
        {INPUT: x[:64]}, tuple({name: value[:64] for name, value in out.items()} for out in answers)
    )
    target = folder / "fashion-int8"
    target.mkdir()
    profile = load_profile("generic-x86-64").model_copy(
        update={"tflite": Tflite(int8_changed_answers=0.05, packaging="signatures")}
    )
    variant = TfliteInt8Exporter().export(graph, profile, golden, target)
    adapter = open_variant(target, variant, RUNTIME)
    floats = [float(np.mean(next(iter(out.values())).argmax(1) == images["labels"])) for out in answers]
    small = [
        float(np.mean(next(iter(adapter.run({INPUT: x}, k).values())).argmax(1) == images["labels"]))
        for k in range(len(floats))
    ]
    return {
        "network": TRAINED,
        "variant": "tflite-int8",
        "float_accuracy": floats,
        "int8_accuracy": small,
    }
