"""Transposed convolutions become convolutions whose phases are interleaved: the same numbers, layers for kernels."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.texts import with_constants
from torch import nn

from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_model
from elsa_edge.graph.passes.transposed_as_convolution import TransposedAsConvolution
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs

HEADER = '<ir_version: 10, opset_import: ["" : 20]>'


def make(
    attributes: str, weight: tuple[int, ...], after: str = "y = Identity(u)", free: bool = False
) -> ir.Model:
    """A transposed convolution of (N, 4, 5, 6), and what follows it."""
    size = "H, W" if free else "5, 6"
    text = (
        f"{HEADER} g (float[N, 4, {size}] x) => (float[N, C, A, B] y) "
        f"{{ u = ConvTranspose <{attributes}> (x, w, b) {after} }}"
    )
    groups = 2 if "group = 2" in attributes else 1
    channels = weight[1] * groups
    random = np.random.default_rng(0)
    constants = {"w": random.normal(size=weight), "b": random.normal(size=channels)} | {
        name: random.uniform(0.5, 2.0, channels) for name in ("scale", "shift", "mean", "variance")
    }
    model = with_constants(text, {name: array.astype(np.float32) for name, array in constants.items()})
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(model)))


def rewritten(model: ir.Model) -> list[str]:
    """Rewrite, check that the numbers are the same, and return the operators in order."""
    x = {"x": np.random.default_rng(1).normal(size=(2, 4, 5, 6)).astype(np.float32)}
    before = run_model(model, x)["y"]
    TransposedAsConvolution()(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    after = run_model(model, x)["y"]
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    return [node.op_type for node in model.graph]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window_gives_the_same_numbers(data: st.DataObject) -> None:
    """Kernels, strides, padding and groups of all kinds."""
    kernel = data.draw(st.tuples(*[st.integers(1, 5)] * 2))
    strides = data.draw(st.tuples(*[st.integers(1, 4)] * 2))
    pads = tuple(data.draw(st.integers(0, min(3, size))) for size in (*kernel, *kernel))
    extra = tuple(data.draw(st.integers(0, stride - 1)) for stride in strides)
    groups = data.draw(st.sampled_from([1, 2]))
    sizes = [
        stride * (size - 1) + more + k - pads[axis] - pads[2 + axis]
        for axis, (stride, size, more, k) in enumerate(zip(strides, (5, 6), extra, kernel, strict=True))
    ]
    if min(sizes) < 1:
        return
    attributes = (
        f"kernel_shape = {list(kernel)}, strides = {list(strides)}, pads = {list(pads)}, "
        f"output_padding = {list(extra)}, group = {groups}"
    )
    assert "ConvTranspose" not in rewritten(make(attributes, (4, 3, *kernel)))


def test_doubling_is_one_interleaving() -> None:
    """The usual upsampling of segmentation networks takes one node more, whatever the size of the image."""
    assert rewritten(make("strides = [2, 2]", (4, 3, 2, 2), free=True)) == [
        "Conv",
        "DepthToSpace",
        "Identity",
    ]


def test_what_follows_by_channel_is_computed_before() -> None:
    """BatchNorm and activations: a nested kernel takes them along."""
    after = "v = BatchNormalization(u, scale, shift, mean, variance) y = Relu(v)"
    operators = rewritten(make("strides = [2, 2], pads = [1, 1, 1, 1]", (4, 3, 4, 4), after))
    assert operators == ["Conv", "BatchNormalization", "Relu", "DepthToSpace", "Slice"]


@pytest.mark.parametrize(
    ("attributes", "free"),
    [
        ("dilations = [2, 2]", False),
        ("output_shape = [9, 11], strides = [2, 2]", False),
        ("strides = [1, 2]", True),
    ],
)
def test_what_is_not_understood_stays(attributes: str, free: bool) -> None:
    """Dilated kernels, automatic padding, different strides over images of any size."""
    assert rewritten(make(attributes, (4, 3, 3, 3), free=free)) == ["ConvTranspose", "Identity"]


def test_nested_kernels_compute_a_decoder() -> None:
    """Both transposed convolutions of a network, over an image and over a signal."""

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.norm = nn.ConvTranspose2d(4, 6, 4, 2, 1), nn.BatchNorm2d(6)
            self.wave = nn.ConvTranspose1d(6, 5, 6, 3)

        def forward(self, x):
            return self.wave(self.norm(self.up(x)).relu().mean(2))

    model = Decoder().eval()
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(["1x4x5x6"]))
    layers, refused = find_layers(level_models(graph))
    assert not refused
    assert [(layer.kind, layer.weight.shape[0]) for layer in layers] == [("conv", 24), ("conv", 15)]
    assert layers[0].activation.kind.name == "CLIP"
