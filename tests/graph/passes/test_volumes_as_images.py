"""Volumes are computed as images: the same numbers, and nested kernels find the convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from support.texts import with_constants
from torch import nn

from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.exporters.nested.layer_set import layer_set_of
from elsa_edge.exporters.nested.write import write
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.oracle import run_canonical, run_model
from elsa_edge.graph.passes.volumes_as_images import VolumesAsImages
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.nested_format.library import library_path
from elsa_edge.running.onnx_session import Settings, open_session, options_for
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

SHAPES = {"w": (6, 4, 3, 3, 2), "flat": (6, 6, 1, 3, 3), "grouped": (6, 2, 1, 3, 3), "deep": (6, 2, 3, 1, 1),
    "bias": (6,), "one": (6,)}  # fmt: skip


def rewritten(body: str) -> list[str]:
    """Rewrite, check that the numbers are the same, and return the operators in order."""
    random = np.random.default_rng(0)
    constants = {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    constants["one"] = np.abs(constants["one"])
    ends = "(float[N, 4, 5, 8, 7] x) => (float[N, A, B, C, D] y)"
    text = f'<ir_version: 10, opset_import: ["" : 20]> g {ends} {{ {body} }}'
    model = with_constants(text, constants)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(model), data_prop=True))
    x = {"x": random.normal(size=(2, 4, 5, 8, 7)).astype(np.float32)}
    before = run_model(model, x)
    VolumesAsImages()(model)
    after = run_model(model, x)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-4, atol=1e-5 * np.abs(array).max())
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv(x, w, bias)",
        "y = Conv <pads = [1, 0, 1, 2, 1, 0], strides = [2, 1, 2]> (x, w)",
        "y = Conv <dilations = [2, 2, 1], pads = [0, 1, 0, 0, 1, 0]> (x, w)",
        "a = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w) b = Relu(a) y = Conv <pads = [0, 1, 1, 0, 1, 1]> (b, flat)",
        "a = Conv(x, w) b = BatchNormalization(a, one, bias, bias, one) c = Sigmoid(b) y = Mul(a, c)",
        "a = Conv(x, w) b = Conv <group = 3, pads = [0, 1, 1, 0, 1, 1], strides = [2, 1, 1]> (a, grouped) y = Relu(b)",
        "a = Conv(x, w) b = MaxPool <kernel_shape = [2, 2, 2]> (a) y = Conv <pads = [0, 1, 1, 0, 1, 1]> (b, flat)",
    ],
)
def test_numbers_stay_the_same(body: str) -> None:
    """Kernels of any depth, strides, dilations, padding, groups in flat ones, what goes on and what does not."""
    operators = rewritten(body)
    assert operators[-1] == "Transpose"


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(x, w) y = Conv <group = 3> (a, deep)",
        'y = Conv <auto_pad = "SAME_UPPER"> (x, w)',
    ],
)
def test_what_cannot_be_images_stays(body: str) -> None:
    """Groups of deep kernels, and padding that is not said."""
    assert rewritten(body)[-1] == "Conv"


class Video(nn.Module):
    """A deep and a flat convolution with a residual."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(
            nn.Conv3d(3, 8, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False), nn.BatchNorm3d(8), nn.ReLU()
        )
        self.second = nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1))
        self.third = nn.Conv3d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = torch.relu(self.third(torch.relu(self.second(x))) + x)
        logits: torch.Tensor = self.head(x.mean((2, 3, 4)))
        return logits


def test_nested_kernels_compute_all_of_a_videos_layers(tmp_path: Path) -> None:
    """BatchNorm, ReLU and the residual are computed with them; every level answers as before."""
    model = Video().eval()
    levels = sparsify(model, [0.8, 0.0], allocation="uniform")
    graph = export_canonical(levels, model, [TensorSpec("x", (1, 3, 4, 16, 16))])
    layers, refused = find_layers(level_models(graph))
    assert [layer.kind for layer in layers] == ["conv", "conv", "conv", "matmul"]
    assert refused == {}
    assert layers[2].residual is not None

    written = layer_set_of(graph)
    write(written, tmp_path, [written.every] * written.count)
    running = open_session(
        tmp_path / "model.onnx", options_for(Settings(threads=1), libraries=(str(library_path()),))
    )
    feed = example_inputs(list(graph.inputs.values()), 2, seed=1)
    for level, expected in enumerate(run_canonical(graph, feed)):
        for name, array in expected.items():
            found = running.run([name], {**feed, LEVEL_INPUT: np.array(level)})[0]
            np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-4 * np.abs(array).max())
