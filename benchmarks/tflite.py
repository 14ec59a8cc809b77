"""The TFLite variants: numbers, file sizes, sparse kernels on the SSE stand-in, int8, switching, memory, export.

python -m benchmarks.tflite [--quick] [--json]

Numbers are compared on this machine; `make test-arm` does the same on the emulated ARM runtimes. The stand-in hides AVX
from XNNPACK (benchmarks/sse_stand_in.py), so that both sides run four-lane kernels; it is no ARM core.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from benchmarks.common import (
    Result,
    Row,
    anonymous_bytes,
    at_least,
    at_most,
    benchmark,
    in_subprocess,
    interleaved,
    ratio,
)
from benchmarks.models import IMAGE, NETS, settled
from benchmarks.nets import living_levels
from benchmarks.sessions import open_variant
from elsa_edge.bundle.golden import Golden, largest_difference
from elsa_edge.bundle.instructions import TfliteFiles, TfliteSignatures
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.tflite.int8 import TfliteInt8Exporter
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.exporters.tflite.sparse import TfliteSparseExporter
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.plugins import Exporter, Opened
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile, Runtime, Tflite
from elsa_edge.tensors import TensorSpec

LADDER: Final = (0.95, 0.9, 0.8, 0.0)
_EXPORTERS: Final[tuple[type[Exporter], ...]] = (
    TfliteLevelsExporter,
    TfliteSparseExporter,
    TfliteInt8Exporter,
)
_RUNTIME: Final = Runtime(name="litert")
_SAMPLES: Final = 16


class _MobileNetV1(nn.Module):
    """MobileNetV1, 4.2 M weights, with a symmetric stem; input `(batch, 3, 224, 224)`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
        inputs = 32
        for outputs, stride in (
            (64, 1),
            (128, 2),
            (128, 1),
            (256, 2),
            (256, 1),
            (512, 2),
            *[(512, 1)] * 5,
            (1024, 2),
            (1024, 1),
        ):
            layers += [
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU6(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU6(),
            ]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(1024, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


class _Recurrent(nn.Module):
    """An LSTM and a transformer layer over 16 steps of 32 features."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(32, 64, batch_first=True)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(x)
        logits: torch.Tensor = self.head(self.encoder(y).mean(1))
        return logits


@dataclass(frozen=True)
class _Case:
    name: str
    graph: CanonicalGraph
    golden: Golden


def _network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    if name == "mobilenet_v1":
        torch.manual_seed(0)
        return settled(_MobileNetV1(), IMAGE), IMAGE
    if name == "lstm_transformer":
        torch.manual_seed(0)
        return _Recurrent().eval(), (1, 16, 32)
    net = NETS[name]
    return net.factory(), net.input_shape


def _case(name: str) -> _Case:
    model, shape = _network(name)
    graph = export_canonical(living_levels(model, shape, LADDER), model, [TensorSpec("", shape)])
    x = np.random.default_rng(0).standard_normal((_SAMPLES, *shape[1:])).astype(np.float32)
    few = {"x": x[:2]} if len(shape) == 4 else {"x": x}
    return _Case(name, graph, Golden(few, run_canonical(graph, few)))


def _profile(calibration: Path, shape: tuple[int | None, ...], **settings: Any) -> DeviceProfile:
    """Return a profile; int8 gets random calibration inputs, which prove the plumbing and nothing about accuracy."""
    sizes = [_SAMPLES, *(size or 1 for size in shape[1:])]
    np.savez(calibration, x=np.random.default_rng(1).standard_normal(sizes).astype(np.float32))
    tflite = Tflite(sparse_for_size=True, calibration=str(calibration), int8_changed_answers=1.0, **settings)
    return load_profile("generic-x86-64").model_copy(update={"tflite": tflite})


def _export(exporter: Exporter, case: _Case, folder: Path, **settings: Any) -> tuple[Variant, Path, float]:
    """Return the variant, its folder and the CPU seconds of this process that it took."""
    target = folder / f"{case.name}-{exporter.name}-{settings.get('packaging', 'auto')}"
    target.mkdir()
    profile = _profile(target.with_suffix(".npz"), case.graph.inputs["x"].shape, **settings)
    before = time.process_time()
    variant = exporter.export(case.graph, profile, case.golden, target)
    spent_s = time.process_time() - before
    (target / "variant.json").write_text(variant.model_dump_json())
    return variant, target, spent_s


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.tflite"))


def _worst(adapter: Opened, golden: Golden) -> float:
    """Return the largest difference from the oracle over all levels, relative to max(1, largest output)."""
    worst = 0.0
    for level, expected in enumerate(golden.outputs):
        found = adapter.run(golden.inputs, level)
        for name, value in expected.items():
            difference, scale = largest_difference(found[name], value)
            worst = max(worst, difference / max(1.0, scale))
    return worst


def _variant_rows(case: _Case, folder: Path) -> Iterator[tuple[Row, Path, float]]:
    for make in _EXPORTERS:
        exporter = make()
        variant, target, spent_s = _export(exporter, case, folder, packaging="files")
        adapter = open_variant(target, variant, _RUNTIME)
        worst = _worst(adapter, case.golden)
        adapter.close()
        sizes = [(target / variant.files[f"level_{k}"]).stat().st_size for k in range(len(LADDER))]
        row: Row = {
            "network": case.name,
            "variant": variant.name,
            "difference": worst,
            "allowed": variant.relative_tolerance,
            "bytes_by_level": sizes,
            "export_cpu_s": round(spent_s, 2),
        }
        yield row, target, worst / variant.relative_tolerance


def stand_in(dense: str, sparse: str, rounds: int) -> dict[str, Any]:
    """Time a dense and a sparse file against each other without AVX, in this fresh process."""
    from benchmarks.sse_stand_in import hide_avx

    hidden = hide_avx()
    from ai_edge_litert.interpreter import Interpreter

    interpreters = {}
    for name, path in (("dense", dense), ("sparse", sparse)):
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        detail = interpreter.get_input_details()[0]
        x = np.random.default_rng(0).standard_normal(detail["shape"]).astype(np.float32)
        interpreter.set_tensor(detail["index"], x)
        interpreters[name] = interpreter
    times = interleaved({name: item.invoke for name, item in interpreters.items()}, rounds=rounds)
    gain = ratio(times["dense"], times["sparse"])
    answers = [item.get_tensor(item.get_output_details()[0]["index"]) for item in interpreters.values()]
    difference, scale = largest_difference(answers[1], answers[0])
    return {
        "hidden": hidden,
        "dense_ms": float(np.median(times["dense"]) * 1e3),
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "relative_difference": difference / max(1.0, scale),
        "same_bits": bool(np.array_equal(answers[0], answers[1])),
    }


def _image_shape(variant: Variant) -> tuple[int, ...]:
    """Return the shape of one sample of the only input."""
    assert isinstance(variant.instructions, (TfliteFiles, TfliteSignatures))
    return (1, *(size or 1 for size in variant.instructions.inputs[0].shape[1:]))


def resident(folder: str, levels: list[int]) -> int:
    """Return the anonymous bytes that running these levels adds to this fresh process."""
    place = Path(folder)
    variant = Variant.model_validate(json.loads((place / "variant.json").read_text()))
    shape = _image_shape(variant)
    x = np.ones(shape, np.float32)
    before = anonymous_bytes()
    # The plain interpreter, as a program would use it.
    if len(levels) == 1 and isinstance(variant.instructions, TfliteFiles):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(place / variant.files[f"level_{levels[0]}"]), num_threads=1)
        runner = interpreter.get_signature_runner()
        detail = runner.get_input_details()["x"]
        runner(x=np.ones(detail["shape"], np.float32))
        return anonymous_bytes() - before
    adapter = open_variant(place, variant, _RUNTIME)
    for level in levels:
        adapter.run({"x": x}, level)
    return anonymous_bytes() - before


def _switching(network: str, folder: Path, variant: Variant, rounds: int) -> tuple[Row, float]:
    """Compare an inference right after a switch of signature with the mean of both levels' warm inferences."""
    adapter = open_variant(folder, variant, _RUNTIME)
    shape = _image_shape(variant)
    x = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
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
    return {"network": network, "variant": "switch between signatures", "ratio": value}, value


def _trained_int8(folder: Path) -> tuple[Row, float]:
    """Return the largest loss of accuracy of int8 against float, in points, over the levels of a trained network."""
    from elsa_edge.checkpoint import NestedCheckpoint
    from examples.cnn import tiny

    data = Path(__file__).parents[1] / "tests" / "data"
    images = np.load(data / "fashion_test.npz")
    x = ((images["images"].reshape(-1, 1, 28, 28) / 255 - 0.2860) / 0.3530).astype(np.float32)
    graph = export_canonical(
        NestedCheckpoint.load(data / "fashion.safetensors"), tiny(), [TensorSpec("", (1, 1, 28, 28))]
    )
    answers = run_canonical(graph, {"x": x})
    golden = Golden(
        {"x": x[:64]}, tuple({name: value[:64] for name, value in out.items()} for out in answers)
    )
    target = folder / "fashion-int8"
    target.mkdir()
    profile = load_profile("generic-x86-64").model_copy(
        update={"tflite": Tflite(int8_changed_answers=0.05, packaging="signatures")}
    )
    variant = TfliteInt8Exporter().export(graph, profile, golden, target)
    adapter = open_variant(target, variant, _RUNTIME)
    floats = [float(np.mean(next(iter(out.values())).argmax(1) == images["labels"])) for out in answers]
    small = [
        float(np.mean(next(iter(adapter.run({"x": x}, k).values())).argmax(1) == images["labels"]))
        for k in range(len(floats))
    ]
    loss_points = max(100 * (a - b) for a, b in zip(floats, small, strict=True))
    row: Row = {
        "network": "fashion (trained, 500 test images)",
        "variant": "tflite-int8",
        "float_accuracy": floats,
        "int8_accuracy": small,
    }
    return row, loss_points


@benchmark("tflite")
def main(quick: bool) -> Result:
    """Measure the TFLite variants; see the module."""
    names = (
        ["mlp"] if quick else ["mobilenet_v2", "efficientnet_lite0", "resnet18", "mlp", "lstm_transformer"]
    )
    rounds = 9 if quick else 31
    rows: list[Row] = []
    within = 0.0
    sizes: dict[tuple[str, str], list[int]] = {}
    spent_s: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as name:
        folder = Path(name)
        for network in names:
            case = _case(network)
            for row, _, share in _variant_rows(case, folder):
                rows.append(row)
                within = max(within, share)
                sizes[network, row["variant"]] = row["bytes_by_level"]
                spent_s[network] = spent_s.get(network, 0.0) + row["export_cpu_s"]
        claims = [at_most("largest difference of all variants and levels over what is allowed", 1.0, within)]
        nets = names[:1] if quick else ["mobilenet_v2", "efficientnet_lite0"]
        for network in nets:
            dense = sizes[network, "tflite-levels"][-1]
            sparse = sizes[network, "tflite-sparse"]
            claims.append(
                at_most(f"{network}: sparse file at 90 % over the dense file", 0.25, sparse[1] / dense)
            )
        rows_more, more = _one_file(names[0], folder)
        rows += rows_more
        claims += more
        row, loss_points = _trained_int8(folder)
        rows.append(row)
        claims.append(
            at_most("int8: points of accuracy lost at any level of a trained network", 1.0, loss_points)
        )
        if not quick:
            claims.append(
                at_most(
                    "efficientnet_lite0 to all TFLite variants, CPU seconds of one core",
                    60,
                    spent_s["efficientnet_lite0"],
                )
            )
            v1 = _case("mobilenet_v1")
            paths = {}
            for exporter in (TfliteLevelsExporter(), TfliteSparseExporter()):
                variant, target, _ = _export(exporter, v1, folder, packaging="files")
                paths[exporter.name] = str(target / variant.files["level_1"])
            found = in_subprocess(
                "benchmarks.tflite:stand_in", paths["tflite-levels"], paths["tflite-sparse"], rounds
            )
            rows.append({"network": "mobilenet_v1", "variant": "90 % sparse on the SSE stand-in", **found})
            claims.append(
                at_least(
                    "mobilenet_v1 at 90 %: dense over sparse on the SSE stand-in (AVX hidden; not ARM)",
                    3.0,
                    found["gain"]
                    if found["hidden"] and found["relative_difference"] <= 1e-4 and not found["same_bits"]
                    else None,
                )
            )
    return Result(rows, claims)


def _one_file(network: str, folder: Path) -> tuple[list[Row], list[Any]]:
    """Measure what several levels in one file cost: size, switching, memory."""
    case = _case(network)
    rows: list[Row] = []
    claims = []
    graph = _without_dense(network)
    together, target, _ = _export(TfliteSparseExporter(), graph, folder, packaging="signatures")
    del together
    dense_file = folder / f"{network}-tflite-levels-files" / "level_3.tflite"
    share = _bytes(target) / dense_file.stat().st_size
    claims.append(at_most(f"{network}: three sparse levels in one file over one dense file", 0.8, share))
    variant, target, _ = _export(TfliteLevelsExporter(), case, folder, packaging="signatures")
    row, value = _switching(network, target, variant, 31)
    rows.append(row)
    claims.append(at_most(f"{network}: switch of signature plus inference over one inference", 1.1, value))
    files = str(folder / f"{network}-tflite-levels-files")
    last = len(LADDER) - 1
    one = in_subprocess("benchmarks.tflite:resident", files, [last])
    all_levels = in_subprocess("benchmarks.tflite:resident", files, [0, 1, 2, last, 0, last])
    rows.append({"network": network, "variant": "one interpreter", "anonymous_bytes": one})
    rows.append(
        {"network": network, "variant": "lowest-RAM mode, all levels in turn", "anonymous_bytes": all_levels}
    )
    claims.append(
        at_most(f"{network}: memory of the lowest-RAM mode over one interpreter", 1.2, all_levels / one)
    )
    return rows, claims


def _without_dense(network: str) -> _Case:
    model, shape = _network(network)
    graph = export_canonical(living_levels(model, shape, LADDER[:-1]), model, [TensorSpec("", shape)])
    x = {"x": np.random.default_rng(0).standard_normal((2, *shape[1:])).astype(np.float32)}
    return _Case(f"{network}_sparse_only", graph, Golden(x, run_canonical(graph, x)))


if __name__ == "__main__":
    main()
