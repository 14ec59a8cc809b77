"""The preflight of the sparse path: every condition is seen, and said in words."""

from __future__ import annotations

import platform

import numpy as np
import onnx_ir as ir
import pytest

from benchmarks.common import in_subprocess
from elsa_edge.exporters.tflite.convert import convert
from elsa_edge.exporters.tflite.densify import encode_weights
from elsa_edge.exporters.tflite.prepare import prepare
from elsa_edge.exporters.tflite.xnnpack import device_reasons, find_cluster
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import Tflite

NET = """<ir_version: 10, opset_import: ["" : 20]>
g (float[1,{channels},16,16] x, float[8,{channels},{kernel},{kernel}] stem, float[16,8,1,1] expand,
   float[16,1,3,3] depthwise, float[8,16,1,1] project) => (float[1,8,N,M] y) {{
    a = Conv <pads = {stem_pads}, strides = {stem_strides}> (x, stem)
    b = Relu (a)
    c = Conv (b, expand)
    d = Relu (c)
    e = Conv <group = 16, pads = {pads}, strides = [1, 1]> (d, depthwise)
    f = {middle} (e)
    h = Conv (f, project)
    i = Add (h, a)
    y = {end} (i)
}}"""
FITS = {
    "channels": 3,
    "kernel": 3,
    "stem_pads": "[1, 1, 1, 1]",
    "stem_strides": "[2, 2]",
    "pads": "[1, 1, 1, 1]",
    "middle": "HardSwish",
    "end": "GlobalAveragePool",
}


def _net(density: float = 0.1, **changes: object) -> ir.Model:
    from onnx_ir.passes import common

    model = ir.from_onnx_text(NET.format(**FITS | changes))
    generator = np.random.default_rng(0)
    for value in list(model.graph.inputs)[1:]:
        shape = [int(str(size)) for size in value.shape]
        numbers = generator.standard_normal(shape) * (generator.random(shape) < density)
        value.const_value = ir.tensor(numbers.astype(np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    common.ShapeInferencePass()(model)
    return model


def test_a_mobile_network_with_many_zeros_is_taken():
    """Every 1x1 convolution is listed with its zeros, and the total decides."""
    cluster = find_cluster(_net())

    assert cluster.sparse
    assert cluster.zeros is not None
    assert cluster.zeros > 0.8
    text = "; ".join(cluster.reasons)
    assert "Conv stem begins the cluster" in text
    assert "Conv expand fits" in text
    assert "Conv project fits" in text
    assert "GlobalAveragePool" in text


def test_too_few_zeros_keep_the_dense_kernels():
    """Two thirds is the limit."""
    cluster = find_cluster(_net(density=0.5))

    assert not cluster.sparse
    assert "not more than the 67%" in cluster.reasons[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stem_strides": "[1, 1]"}, "stride 1 instead of 2"),
        ({"stem_pads": "[0, 0, 1, 1]"}, "padding [0, 0, 1, 1] instead of 1 on all sides"),
        ({"channels": 4}, "4 input channels instead of 3"),
        ({"kernel": 5, "stem_pads": "[2, 2, 2, 2]"}, "kernel 5x5 instead of 3x3"),
        ({"pads": "[0, 0, 2, 2]"}, "Conv depthwise breaks the cluster: its padding"),
        ({"middle": "Softplus"}, "Softplus f breaks the cluster: XNNPACK has no channels-first form of it"),
        ({"end": "Relu"}, "is an output inside the cluster"),
    ],
)
def test_a_condition_that_fails_is_said(changes, words):
    """The first layer that does not fit is named, with what it should be."""
    cluster = find_cluster(_net(**changes))

    assert not cluster.sparse
    assert words in cluster.reasons[-1]


def _times_without_avx(folder, density: float) -> dict:
    """Convert the net, store it dense and sparse, and run both in a fresh process with AVX hidden from XNNPACK."""
    converted = convert(prepare(_net(density), {"x": (1, 3, 16, 16)}))
    (folder / "dense.tflite").write_bytes(converted.model.to_bytes())
    encode_weights(converted.model)
    (folder / "sparse.tflite").write_bytes(converted.model.to_bytes())
    return in_subprocess(
        "benchmarks.tflite.apart:stand_in", str(folder / "dense.tflite"), str(folder / "sparse.tflite"), 3
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the stand-in patches the x86 build of XNNPACK")
@pytest.mark.parametrize("density", [0.1, 0.6])
def test_the_preflight_foretells_what_xnnpack_does(tmp_path, density):
    """Other last digits prove that sparse kernels ran; they ran exactly where the preflight says, and rightly."""
    found = _times_without_avx(tmp_path, density)

    assert found["hidden"]
    assert found["same_bits"] is not find_cluster(_net(density)).sparse
    assert found["relative_difference"] <= 1e-5


def test_a_network_without_images_has_no_cluster():
    """An MLP has nothing for these kernels."""
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[1,4] x) => (float[1,4] y) { y = Relu (x) }'
    )

    assert "no convolution" in find_cluster(model).reasons[0]


def test_devices_that_have_no_sparse_kernels_say_why():
    """x86 and 32-bit ARM never run them; a Raspberry Pi 5 does."""
    five = load_profile("raspberry-pi-5")
    transposed = five.model_copy(update={"tflite": Tflite(input_layout="NCHW")})

    assert device_reasons(five) == ()
    assert "AVX" in device_reasons(load_profile("generic-x86-64"))[0]
    assert "NCHW" in device_reasons(transposed)[0]
    thirty_two = five.model_copy(update={"hardware": five.hardware.model_copy(update={"arch": "armv7l"})})
    assert "32-bit" in device_reasons(thirty_two)[0]
