"""Signals are computed as images of one row: the same numbers, one change of form where a stretch begins and ends."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from support.texts import with_constants
from torch import nn

from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_model
from elsa_edge.graph.passes.signals_as_images import SignalsAsImages
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs

SHAPES = {"w": (6, 4, 3), "v": (6, 6, 1), "by_channel": (6, 1, 3), "up": (6, 2, 4), "bias": (6,), "slope": (6, 1),
    "gate": (1, 6, 1), "late": (10,)}  # fmt: skip


def make(body: str, outputs: str = "float[N, A, B] y", signal: str = "float[N, 4, 10] x") -> ir.Model:
    """A network over a signal (N, 4, 10), with constants of the shapes above."""
    random = np.random.default_rng(0)
    constants = {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    text = f'<ir_version: 10, opset_import: ["" : 20]> g ({signal}) => ({outputs}) {{ {body} }}'
    model = with_constants(text, constants)
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(model)))


def rewritten(model: ir.Model) -> list[str]:
    """Rewrite, check that the numbers are the same, and return the operators in order."""
    x = {"x": np.random.default_rng(1).normal(size=(2, 4, 10)).astype(np.float32)}
    before = run_model(model, x)
    SignalsAsImages()(model)
    after = run_model(model, x)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-5, atol=1e-6)
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv <pads = [2, 1], strides = [2]> (x, w, bias)",
        "a = Conv <pads = [2, 2], dilations = [2], kernel_shape = [3]> (x, w) y = PRelu(a, slope)",
        'a = Conv <auto_pad = "SAME_UPPER"> (x, w) b = Relu(a) y = Conv <group = 6> (b, by_channel)',
        "a = Conv(x, w) b = MaxPool <kernel_shape = [3], pads = [1, 0], strides = [2]> (a) y = Add(b, gate)",
        "a = Conv(x, w) b = AveragePool <kernel_shape = [2], ceil_mode = 1> (a) c = Sigmoid(b) y = Mul(b, c)",
        "a = Conv(x, w) b = GlobalAveragePool(a) c = Conv(b, v) d = Sigmoid(c) y = Mul(a, d)",
        "a = Conv(x, w) y = ConvTranspose <strides = [3], pads = [1, 0], output_padding = [1]> (a, up)",
        "a = Abs(x) y = Conv(a, w)",
    ],
)
def test_a_stretch_becomes_an_image_once(body: str) -> None:
    """What goes on with the image: windows, channels, numbers; constants get the row's axis."""
    operators = rewritten(make(body))
    assert operators.count("Unsqueeze") == operators.count("Squeeze") == 1
    assert operators[-1] == "Squeeze"


def test_what_looks_along_time_reads_the_signal() -> None:
    """A transposition and a constant over time both see three axes."""
    operators = rewritten(
        make(
            "a = Conv <pads = [1, 1]> (x, w) b = Add(a, late) c = Transpose <perm = [0, 2, 1]> (b) y = Relu(c)"
        )
    )
    assert operators == ["Unsqueeze", "Conv", "Add", "Squeeze", "Transpose", "Relu"]


def test_an_output_in_the_middle_stays_a_signal() -> None:
    """It keeps its name and shape, and the stretch goes on."""
    model = make("h = Conv(x, w) y = Relu(h)", outputs="float[N, 6, 8] h, float[N, A, B] y")
    assert rewritten(model) == ["Unsqueeze", "Conv", "Squeeze", "Relu", "Squeeze"]
    assert [output.name for output in model.graph.outputs] == ["h", "y"]
    assert list(model.graph.outputs[0].shape or ())[1:] == [6, 8]


def test_images_and_weights_that_are_computed_are_left_alone() -> None:
    """A convolution over images, and one whose weight is no constant."""
    text = "g (float[1, 2, 5] x, float[3, 2, 3] k) => (float[1, 3, 3] y) { y = Conv(x, k) }"
    model = ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : 20]> {text}')
    assert not SignalsAsImages()(model).modified
    assert [node.op_type for node in model.graph] == ["Conv"]


def test_nested_kernels_compute_convolutions_over_signals() -> None:
    """A whole network: every layer is found, with its BatchNorm, activation and residual."""

    class Heard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = (
                nn.Conv1d(2, 8, 5, 2, 2),
                nn.BatchNorm1d(8),
                nn.Conv1d(8, 8, 3, padding=1),
            )
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            y = self.norm(self.a(x)).relu()
            return self.head((y + self.b(y)).relu().mean(-1))

    model = Heard().eval()
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(["1x2x40"]))
    layers, refused = find_layers(level_models(graph))
    assert not refused
    assert [layer.kind for layer in layers] == ["conv", "conv", "matmul"]
    assert layers[1].residual is not None
    first = layers[0].geometry
    assert first is not None
    assert (first.in_size, first.out_size, first.kernel) == ((1, 40), (1, 20), (1, 5))
