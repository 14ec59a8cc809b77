"""Every TFLite variant on the real ARM runtimes, emulated: the numbers of a Raspberry Pi 4, a Pi 5 and a 32-bit Pi."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tflite_variants import golden_for, write_variant_folder
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.exporters.tflite.int8 import TfliteInt8Exporter
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.exporters.tflite.sparse import TfliteSparseExporter
from elsa_edge.graph.export import export_canonical
from elsa_edge.levels import Ladder, index_from_scores
from elsa_edge.tensors import TensorSpec

_SPEC = importlib.util.spec_from_file_location("emulator", Path(__file__).with_name("emulator.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
emulator = importlib.util.module_from_spec(_SPEC)
sys.modules["emulator"] = emulator
_SPEC.loader.exec_module(emulator)

pytestmark = [pytest.mark.arm, pytest.mark.timeout(1200)]
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "check_variants.py"
SPARSITIES = (0.9, 0.8, 0.0)


class Mobile(nn.Module):
    """MobileNetV2's shape in small: what XNNPACK's sparse kernels are for."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(32, 32, 3, 2, 1, groups=32, bias=False), nn.BatchNorm2d(32), nn.ReLU6()
        )
        self.project = nn.Sequential(nn.Conv2d(32, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.last = nn.Sequential(nn.Conv2d(8, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6())
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.last(self.project(self.depthwise(self.expand(self.stem(x))))).mean((2, 3)))


class Residual(nn.Module):
    """ResNet's basic block between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.main = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1)
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        return self.head(torch.relu(y + self.main(y)).mean((2, 3)))


def _graph(model: nn.Module, shape: tuple[int, ...]):
    """Give every weight of each layer its own magnitude ladder, so that no layer dies."""
    state = {name: tensor.numpy().copy() for name, tensor in model.eval().state_dict().items()}
    ladder = Ladder.from_sparsities(SPARSITIES)
    indices = {
        name: index_from_scores(np.abs(array), [max(1, round((1 - s) * array.size)) for s in SPARSITIES])
        for name, array in state.items()
        if array.ndim >= 2 and name.split(".")[0] not in {"stem", "depthwise"}
    }
    checkpoint = NestedCheckpoint(state, indices, {}, ladder, {})
    return export_canonical(checkpoint, model, [TensorSpec("", shape)])


@pytest.fixture(scope="module")
def variants(tmp_path_factory, canonical_graphs) -> Path:
    """Return a folder with every variant of every network."""
    folder = tmp_path_factory.mktemp("variants")
    for name, graph in canonical_graphs.items():
        known = golden_for(graph, batch=16)
        write_variant_folder(
            folder / f"{name}-levels", TfliteLevelsExporter(), graph, known, packaging="files"
        )
        write_variant_folder(
            folder / f"{name}-sparse",
            TfliteSparseExporter(),
            graph,
            known,
            packaging="signatures",
            sparse_for_size=True,
        )
        write_variant_folder(
            folder / f"{name}-int8",
            TfliteInt8Exporter(),
            graph,
            known,
            packaging="files",
            int8_changed_answers=0.5,
        )
    return folder


@pytest.fixture(scope="module")
def canonical_graphs(request):
    """Return a mobile, a residual, a fully connected and a recurrent network, and a transformer."""
    from support.zoo import ZOO, nested_checkpoint

    torch.manual_seed(0)
    graphs = {"mobile": _graph(Mobile(), (1, 3, 32, 32)), "residual": _graph(Residual(), (1, 3, 16, 16))}
    for name in ("mlp", "transformer", "recurrent"):
        checkpoint, model = nested_checkpoint(ZOO[name])
        graphs[name] = export_canonical(checkpoint, model, ZOO[name].inputs)
    return graphs


def _check(board: str, cpu: str, variants: Path) -> dict:
    done = emulator.run_python(board, [SCRIPT, variants], cpu=cpu, timeout_s=1000)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    for name, row in report["variants"].items():
        assert max(row["differences"]) <= row["tolerance"], (name, row["differences"], row["tolerance"])
    return report


@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76"])
def test_every_variant_keeps_its_promise_and_the_sparse_kernels_run(variants, cpu):
    """Levels, sparse and int8 on aarch64; other last digits prove that sparse kernels computed sparse levels."""
    report = _check("arm64", cpu, variants)

    assert report["context"]["machine"] == "aarch64"
    dense, sparse = (report["variants"][f"mobile-{kind}"]["digests"] for kind in ("levels", "sparse"))
    assert [a != b for a, b in zip(dense, sparse, strict=True)] == [True, True, False]
    dense, sparse = (report["variants"][f"residual-{kind}"]["digests"] for kind in ("levels", "sparse"))
    assert dense == sparse


def test_every_variant_keeps_its_promise_on_32_bit_arm(variants):
    """tflite-runtime on armv7l, on the builtin kernels."""
    report = _check("armhf", "cortex-a7", variants)

    assert report["context"]["package"] == "tflite-runtime"
    assert report["context"]["machine"].startswith("armv")
