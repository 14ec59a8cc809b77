"""The nested kernels, cross-compiled, inside the real aarch64 ONNX Runtime under emulation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.bundle.golden import Golden
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.exporters.float16.exporter import NestedFloat16Exporter
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.levels import Ladder
from elsa_edge.profiles import load_profile
from elsa_edge.runtime_adapters.kernels.build import compile_library
from elsa_edge.tensors import TensorSpec

_SPEC = importlib.util.spec_from_file_location("emulator", Path(__file__).with_name("emulator.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
emulator = sys.modules.get("emulator") or importlib.util.module_from_spec(_SPEC)
sys.modules["emulator"] = emulator
_SPEC.loader.exec_module(emulator)

pytestmark = [pytest.mark.arm, pytest.mark.timeout(1200)]
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "run_nested.py"


class Mixed(nn.Module):
    """Strided, residual, depthwise and pointwise convolution, both kinds of pooling and a product."""

    SHAPE = (3, 21, 30)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU6())
        self.deep = nn.Sequential(
            nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Hardswish(), nn.Conv2d(12, 12, 1)
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Sequential(nn.Conv2d(12, 20, 3, 1, 1), nn.SiLU())
        self.head = nn.Linear(20, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(self.last(self.pool(torch.relu(self.deep(x) + x))).mean((2, 3)))


class Spoken(nn.Module):
    """Recurrent layers: an LSTM in both directions and a GRU."""

    SHAPE = (9, 13)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(13, 18, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(36, 10, batch_first=True)
        self.head = nn.Linear(10, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.gru(self.lstm(x)[0])[0][:, -1])


class Gated(nn.Module):
    """A gate of each channel, an image made larger, two images side by side."""

    SHAPE = (3, 16, 20)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Hardsigmoid())
        self.down = nn.Conv2d(16, 8, 3, 2, 1)
        self.up = nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(24, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = x * self.gate(x)
        return self.last(torch.cat([x, self.up(torch.relu(self.down(x)))], 1)).mean((2, 3))


def nested(network: type[nn.Module], batch: int = 2):
    """Return a network with random nested levels, and inputs for it."""
    random = np.random.default_rng(0)
    model = network().eval()
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    indices = {n: random.integers(0, 3, w.shape).astype(np.uint8) for n, w in weights.items() if w.ndim >= 2}
    checkpoint = NestedCheckpoint(weights, indices, {}, Ladder.from_sparsities((0.66, 0.33, 0.0)))
    shape = network.SHAPE
    graph = export_canonical(checkpoint, model, [TensorSpec("", (1, *shape))])
    return graph, {"x": random.standard_normal((batch, *shape)).astype(np.float32)}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The kernels for aarch64, compiled once."""
    return compile_library(tmp_path_factory.mktemp("aarch64") / "libelsa_nested.so", target="linux-aarch64")


def run_on_board(library, folder, feed, cpu):
    """Run a folder's model at three levels into `out.npz`; return the instruction sets that the kernels chose."""
    done = try_on_board(library, folder, feed, cpu)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def try_on_board(library, folder, feed, cpu):
    """The same, whatever comes of it."""
    np.savez(folder / "in.npz", levels=3, **feed)
    paths = [folder / "model.onnx", library, folder / "in.npz", folder / "out.npz"]
    path = f"{emulator.onnxruntime_site()}:{emulator.build('arm64') / 'site'}"
    return emulator.run_python("arm64", [SCRIPT, *paths], cpu=cpu, environment={"PYTHONPATH": path})


NETWORKS = pytest.mark.parametrize("network", [Mixed, Spoken, Gated])


@NETWORKS
@pytest.mark.parametrize(("cpu", "choose"), [("cortex-a72", "nested"), ("cortex-a76", "auto")])
def test_every_level_agrees_with_the_oracle(library, network, cpu, choose, tmp_path):
    """Blocks of 1 and 4 rows, on both generations of boards."""
    graph, feed = nested(network)
    golden = Golden(feed, run_canonical(graph, feed))
    OrtNestedExporter(choose=choose).export(graph, load_profile("raspberry-pi-4"), golden, tmp_path)
    told = run_on_board(library, tmp_path, feed, cpu)
    assert told[0] == "base"
    with np.load(tmp_path / "out.npz") as answers:
        for level, expected in enumerate(golden.outputs):
            for name, array in expected.items():
                np.testing.assert_allclose(answers[f"{level}/{name}"], array, rtol=1e-4, atol=1e-5)


@NETWORKS
@pytest.mark.parametrize(("cpu", "isa"), [("cortex-a72", "base"), ("cortex-a76", "dotprod")])
def test_eight_bits_are_the_same_bits_as_on_x86(library, network, cpu, isa, tmp_path):
    """With and without `sdot`: no bit differs."""
    graph, feed = nested(network, batch=16)
    plain = load_profile("raspberry-pi-4")
    free = plain.model_copy(update={"tflite": plain.tflite.model_copy(update={"int8_changed_answers": 1.0})})
    NestedInt8Exporter("nested").export(graph, free, Golden(feed, ()), tmp_path)
    few = {name: array[:2] for name, array in feed.items()}
    told = run_on_board(library, tmp_path, few, cpu)
    assert told[1] == isa
    session = open_session(tmp_path / "model.onnx")
    names = [entry.name for entry in session.get_outputs()]
    with np.load(tmp_path / "out.npz") as answers:
        for level in range(3):
            here = session.run(names, {**few, LEVEL_INPUT: np.array(level, np.int64)})
            for name, array in zip(names, here, strict=True):
                assert answers[f"{level}/{name}"].tobytes() == array.tobytes()


def test_half_floats_are_within_their_promise_and_next_to_those_of_x86(library, tmp_path):
    """With the arithmetic of the core: as close to the oracle as the manifest says, at every level."""
    graph, feed = nested(Mixed, batch=16)
    variant = NestedFloat16Exporter().export(
        graph, load_profile("raspberry-pi-5"), Golden(feed, ()), tmp_path
    )
    told = run_on_board(library, tmp_path, feed, "cortex-a76")
    assert told[2] == "fp16"
    session = open_session(tmp_path / "model.onnx")
    names = [entry.name for entry in session.get_outputs()]
    with np.load(tmp_path / "out.npz") as answers:
        for level, expected in enumerate(run_canonical(graph, feed)):
            here = session.run(names, {**feed, LEVEL_INPUT: np.array(level, np.int64)})
            for name, on_x86 in zip(names, here, strict=True):
                found, scale = answers[f"{level}/{name}"], np.abs(expected[name]).max()
                assert np.abs(found - expected[name]).max() <= variant.relative_tolerance * scale
                assert np.abs(found - on_x86).max() <= variant.relative_tolerance / 2 * scale


def test_half_floats_are_refused_in_words_where_the_core_has_none(library, tmp_path):
    """A Cortex-A72 says what it lacks when the session is made; it computes nothing slowly in silence."""
    graph, feed = nested(Mixed, batch=16)
    NestedFloat16Exporter().export(graph, load_profile("raspberry-pi-5"), Golden(feed, ()), tmp_path)
    done = try_on_board(library, tmp_path, feed, "cortex-a72")

    assert done.returncode != 0
    assert "no arithmetic of half floats" in done.stderr
    assert "use a variant in float32 or in 8 bits" in done.stderr
