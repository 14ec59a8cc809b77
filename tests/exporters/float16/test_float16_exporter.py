"""`nested-float16`: whole networks in half floats answer nearly as the float network, and say what stays float32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from support.opening import open_variant
from torch import nn

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.writer import write_bundle
from elsa_edge.errors import ExportError
from elsa_edge.exporters.float16.exporter import NestedFloat16Exporter
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.nested_format.operators import DOMAIN
from elsa_edge.profiles import load_profile
from elsa_edge.runtime_adapters.kernels.build import CompileError, ensure_library
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec
from elsa_edge.verify import verify_bundle

PI_5 = load_profile("raspberry-pi-5")
IMAGE = TensorSpec("", (1, 3, 40, 40))


@pytest.fixture(scope="session", autouse=True)
def library():
    """A machine without a compiler cannot test them, and says so."""
    try:
        return ensure_library()
    except CompileError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")


class Small(nn.Module):
    """Residuals, a maximum, strides, groups, a pair with a depthwise convolution, swishes, a gate and a product."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)

        def norm(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Module:
            conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs))

        self.stem = nn.Sequential(norm(3, 12, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.first = nn.Sequential(norm(12, 12, 3), nn.ReLU(), norm(12, 12, 3))
        self.second = nn.Sequential(norm(12, 24, 3, 2), nn.Hardswish(), norm(24, 24, 3, groups=2), nn.SiLU())
        self.third = nn.Sequential(norm(24, 30, 1), nn.ReLU6(), norm(30, 30, 3, groups=30), nn.ReLU6())
        self.gate = nn.Sequential(nn.Conv2d(30, 30, 1), nn.Sigmoid())
        self.last, self.head = norm(30, 24, 1), nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.second(torch.relu(self.first(x) + x))
        z = self.third(y)
        z = z * self.gate(z.mean((2, 3), keepdim=True))
        return self.head((self.last(z) + y).mean((2, 3)))


def exported(model: nn.Module, spec: TensorSpec = IMAGE) -> CanonicalGraph:
    return export_canonical(sparsify(model.eval(), [0.8, 0.5, 0.0]), model, [spec])


def samples(graph: CanonicalGraph, count: int = 16, seed: int = 1):
    return example_inputs(list(graph.inputs.values()), count, seed=seed)


@pytest.fixture(scope="module")
def small() -> CanonicalGraph:
    return exported(Small())


def test_every_network_of_the_zoo(any_graph, tmp_path) -> None:
    """Convolutions of all kinds, recurrent cells, attention, several inputs: within the tolerance that is declared."""
    exporter = NestedFloat16Exporter()
    if not exporter.preflight(any_graph, PI_5).applies:
        pytest.skip("nested kernels can compute none of its layers")
    variant = exporter.export(any_graph, PI_5, Golden(samples(any_graph), ()), tmp_path)
    opened = open_variant(tmp_path, variant, PI_5.runtime, level_count=len(any_graph.ladder))
    other = samples(any_graph, count=3, seed=2)
    for level, expected in enumerate(run_canonical(any_graph, other)):
        found = opened.run(other, level)
        for name, value in expected.items():
            assert np.abs(found[name] - value).max() <= variant.relative_tolerance * np.abs(value).max()
    opened.close()


def test_a_network_is_converted_at_its_input_only(small, tmp_path) -> None:
    """Convolutions, the maximum and residuals are ours; means end in float32; a gate works on planes as they are."""
    variant = NestedFloat16Exporter().export(small, PI_5, Golden(samples(small), ()), tmp_path)
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    operators = [node.op_type for node in model.graph.node if node.domain == DOMAIN]
    assert (
        operators.count("Float16FromImage") == 2
    )  # the image, and what the gate's convolution reads: one pixel
    assert operators.count("ImageFromFloat16") == 1  # the gate
    assert operators.count("Float16MaxPool") == operators.count("Float16ConvDepthwise") == 1
    assert operators.count("Float16MatMul") == 1
    assert not {node.op_type for node in model.graph.node} & {"Conv", "Add", "MaxPool", "Relu", "If", "Gemm"}
    assert variant.notes["float_layers"] == {}
    assert 0 < max(variant.notes["difference"]) < 0.005
    assert variant.relative_tolerance >= 1.9 * max(variant.notes["difference"])
    assert "asimdhp" in variant.notes["needs"]


def test_weights_take_half_the_bytes(small, tmp_path) -> None:
    golden, folders = Golden(samples(small), ()), [tmp_path / "16", tmp_path / "32"]
    for folder in folders:
        folder.mkdir()
    half = NestedFloat16Exporter().export(small, PI_5, golden, folders[0])
    full = OrtNestedExporter(choose="nested").export(small, PI_5, golden, folders[1])
    # A column number of two bytes goes with each weight, and tables are float32.
    assert half.level_bytes[-1] < 0.75 * full.level_bytes[-1]


def test_a_bundle_is_proved_and_verifies(small, tmp_path) -> None:
    """Here with the slow form; the manifest says how far outputs may be, and verify holds them to it."""
    golden = Golden(samples(small), run_canonical(small, samples(small)))
    with write_bundle(tmp_path / "bundle") as writer:
        folder = writer.variant_folder("nested-float16")
        writer.add_variant(NestedFloat16Exporter().export(small, PI_5, golden, folder))
        writer.seal(
            name="small",
            device="raspberry-pi-5",
            ladder=small.ladder,
            inputs=small.inputs,
            outputs=small.outputs,
            golden=golden,
            versions={},
            provenance={},
        )
    result = verify_bundle(tmp_path / "bundle")
    assert result.ok
    assert [len(variant.levels) for variant in result.variants] == [3]


class Large(nn.Module):
    """A layer whose outputs are beyond what half floats hold, between two others."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(3))
        with torch.no_grad():
            self.a.weight *= factor
            self.c.weight /= factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x)))


@pytest.mark.parametrize("factor", [1e5, 1e-5])
def test_layers_beyond_the_range_stay_float32_and_are_named(factor, tmp_path) -> None:
    """100000 overflows, 0.00001 loses its bits: all layers that read or make such values, and the answer is right."""
    model = Large(factor)
    graph = exported(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), model), IMAGE)
    variant = NestedFloat16Exporter().export(graph, PI_5, Golden(samples(graph), ()), tmp_path)
    assert len(variant.notes["float_layers"]) == 3
    assert all("half floats" in reason for reason in variant.notes["float_layers"].values())
    assert max(variant.notes["difference"]) < 0.005


def test_weights_beyond_the_range_are_moved_by_powers_of_two(tmp_path) -> None:
    """Weights of 1e6 and of 1e-9 with ordinary outputs: a scale a row, which changes no bit of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    with torch.no_grad():
        rows = torch.logspace(-9, 6, 8)
        model[0].weight *= rows[:, None, None, None]
        model[1].running_var.copy_(rows**2)
        model[1].eps = 0.0
    graph = exported(model)
    variant = NestedFloat16Exporter().export(graph, PI_5, Golden(samples(graph), ()), tmp_path)
    assert variant.notes["float_layers"] == {}
    assert max(variant.notes["difference"]) < 0.005


def test_a_network_of_nothing_but_large_values_is_refused(tmp_path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3))
    with torch.no_grad():
        model[0].weight *= 1e6
    graph = exported(model)
    with pytest.raises(ExportError, match="hold the values of no layer") as caught:
        NestedFloat16Exporter().export(graph, PI_5, Golden(samples(graph), ()), tmp_path)
    assert "so that no sum overflows" in str(caught.value)


@pytest.mark.parametrize("name", ["raspberry-pi-4", "generic-x86-64"])
def test_processors_without_the_arithmetic_are_refused_in_words(name, small) -> None:
    told = NestedFloat16Exporter().preflight(small, load_profile(name))
    assert not told.applies
    assert "fp16 among hardware.features" in told.reasons[0]
    assert "use ort-nested or nested-int8" in told.reasons[0]
