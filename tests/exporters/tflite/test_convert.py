"""ONNX to TFLite: right numbers for awkward graphs, and an error that names the operator where there is no way."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import onnx_ir as ir
import pytest

from elsa_edge.bundle.golden import Tolerance
from elsa_edge.errors import ContractError, ExportError, RuntimeUnavailableError
from elsa_edge.exporters.tflite import convert as converter
from elsa_edge.exporters.tflite.compare import compare, first_diverging, to_file
from elsa_edge.exporters.tflite.convert import Converted, convert
from elsa_edge.exporters.tflite.prepare import fixed_shapes, prepare
from elsa_edge.tensors import TensorSpec

HEADER = '<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>'


def _model(text: str, **weights: np.ndarray) -> ir.Model:
    """Return a model in ONNX's text form, its missing initializers filled in."""
    model = ir.from_onnx_text(f"{HEADER} {text}")
    for name, numbers in weights.items():
        old = next(v for n in model.graph for v in n.inputs if v is not None and v.name == name)
        value = ir.Value(name=name, const_value=ir.tensor(numbers, name=name))
        value.shape, value.type = ir.Shape(numbers.shape), ir.TensorType(ir.DataType.FLOAT)
        old.replace_all_uses_with(value)
        if old in model.graph.inputs:
            model.graph.inputs.remove(old)
        model.graph.register_initializer(value)
    return model


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _converted(model: ir.Model, layout: str = "NHWC", **shapes: tuple[int, ...]) -> Converted:
    return convert(prepare(model, shapes, layout))


def _difference(converted: Converted, **shapes: tuple[int, ...]) -> float:
    generator = np.random.default_rng(0)
    inputs = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return compare(converted, to_file(converted.prepared, inputs), lambda _: Tolerance(), "dense")


def _operators(converted: Converted) -> list[str]:
    return [converted.model.operator_name(operator) for operator in converted.model.graph.operators]


HEAD = """g (float[N,3,8,8] x, float[6,3,3,3] w) => (float[N,6] y) {
    a = Conv <pads = [1,1,1,1]> (x, w)
    b = Relu (a)
    axes = Constant <value = int64[2] {2, 3}> ()
    y = ReduceMean <keepdims = 0> (b, axes)
}"""


@pytest.mark.parametrize(("layout", "shape"), [("NHWC", (1, 8, 8, 3)), ("NCHW", (1, 3, 8, 8))])
def test_the_mean_over_pixels_stays_channels_last(layout, shape):
    """A TRANSPOSE before the mean would make the sparse path of the runtime compute something else."""
    converted = _converted(_model(HEAD, w=_weights(6, 3, 3, 3)), layout, x=(1, 3, 8, 8))

    names = _operators(converted)
    assert "TRANSPOSE" not in names[names.index("CONV_2D") :]
    assert converted.model.shape(converted.model.graph.tensors[converted.model.graph.inputs[0]]) == shape
    assert _difference(converted, x=(1, 3, 8, 8)) <= 1e-5


SHARED = """g (float[1,3,8,8] x, float[6,3,1,1] w) => (float[1,6,8,8] output_1, float[1,6,8,8] output_0) {
    output_1 = Conv (x, w)
    output_0 = Relu (output_1)
}"""


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_an_output_that_others_read_is_not_lost(layout):
    """The converter would drop or fuse it; it must come out, with the numbers before the activation."""
    converted = _converted(_model(SHARED, w=_weights(6, 3, 1, 1)), layout, x=(1, 3, 8, 8))

    assert _difference(converted, x=(1, 3, 8, 8)) <= 1e-5
    assert "MUL" not in _operators(converted)


GROUPED = """g (float[2,4,16] x, float[6,2,5] w) => (float[2,6,8] y) {
    y = Conv <group = 2, strides = [2], pads = [2, 2]> (x, w)
}"""


def test_a_grouped_convolution_in_one_dimension_converts():
    """The converter has none; it goes through two dimensions."""
    converted = _converted(_model(GROUPED, w=_weights(6, 2, 5)), x=(2, 4, 16))

    assert _difference(converted, x=(2, 4, 16)) <= 1e-5


CUSTOM = """g (float[1,4] x, float[4,4] w) => (float[1,4] y) <float[1,4] b> {
    [first] a = MatMul (x, w)
    [odd_one] b = my.domain.Wobble (a)
    [last] y = Relu (b)
}"""


def test_an_operator_without_a_tflite_form_is_named_with_its_module():
    """The user learns which operator, which node, near which module, and what to do."""
    model = _model(CUSTOM, w=_weights(4, 4))
    weight = model.graph.initializers["w"]
    model.graph.initializers.pop("w")
    weight.name = "features.3.weight.masked"
    model.graph.register_initializer(weight)

    with pytest.raises(ExportError, match=r"Wobble.*odd_one.*near module features\.3.*ort-switch"):
        _converted(model, x=(1, 4))


DATA_DEPENDENT = """g (float[1,4] x) => (int64[2,n] y) {
    [search] a = NonZero (x)
    y = Abs (a)
}"""


def test_a_shape_that_depends_on_the_data_is_named():
    """Such a network cannot be fixed; the operator that makes the shape is named."""
    with pytest.raises(ExportError, match=r"NonZero \(search\).*depends on the data"):
        _converted(_model(DATA_DEPENDENT), x=(1, 4))


def test_a_free_size_is_taken_from_real_inputs_or_refused():
    """A sequence length that nobody gave would silently become one."""
    specs = {"x": TensorSpec("x", (None, None, 8))}

    assert fixed_shapes(specs, {"x": np.zeros((4, 24, 8))}, batch=2) == {"x": (2, 24, 8)}
    with pytest.raises(ExportError, match=r"leaves axis 1 free.*--golden"):
        fixed_shapes(specs, {"x": np.zeros((4, 1, 8))}, batch=2)


def test_a_damaged_layer_is_found_by_name():
    """When numbers differ, the error names the first layer that computes something else."""
    text = """g (float[1,8] x, float[8,8] w1, float[8,8] w2) => (float[1,8] y) {
        [one] a = MatMul (x, w1)
        [two] b = Tanh (a)
        [three] c = MatMul (b, w2)
        [four] y = Sigmoid (c)
    }"""
    second = _weights(8, 8)
    converted = _converted(_model(text, w1=_weights(8, 8) + 1, w2=second), x=(1, 8))
    for tensor in converted.model.graph.tensors:
        numbers = converted.model.constant(tensor)
        if (
            numbers is not None
            and numbers.size == 64
            and np.allclose(np.sort(numbers, None), np.sort(second, None))
        ):
            damaged = tensor
    damaged.buffer = converted.model.add_buffer(np.ones((8, 8), np.float32))
    inputs = {"x": np.ones((1, 8), np.float32)}

    culprit = first_diverging(converted, inputs)

    assert culprit is not None
    assert culprit.node == "three"
    with pytest.raises(ContractError, match=r"level s90.*MatMul \(three\)"):
        compare(converted, inputs, lambda _: Tolerance(), "s90")


@pytest.mark.parametrize("found", [None, "1.29.24"])
def test_a_missing_or_other_converter_prints_the_install_command(monkeypatch, found):
    """The command can be pasted."""

    def version(name: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(converter, "version", version)

    with pytest.raises(
        RuntimeUnavailableError, match=r"pip install --no-deps --ignore-requires-python onnx2tf==2\.6\.9"
    ):
        _converted(_model(HEAD, w=_weights(6, 3, 3, 3)), x=(1, 3, 8, 8))


def test_random_numbers_of_the_caller_are_not_disturbed():
    """The converter seeds numpy's global generator; users' programs must not notice."""
    np.random.seed(5)  # noqa: NPY002 - the global generator is the point
    expected = np.random.random(3)  # noqa: NPY002 - the same
    np.random.seed(5)  # noqa: NPY002 - the same

    _converted(_model(HEAD, w=_weights(6, 3, 3, 3)), x=(1, 3, 8, 8))

    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002 - the same
