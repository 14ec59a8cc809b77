"""ONNX files of any tool get nested levels without torch, proved equal to the file at every level."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from elsa_edge.build import build_bundle
from elsa_edge.errors import ExportError, UsageError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.onnx_levels import nest_onnx
from elsa_edge.verify import verify_bundle

LEVELS = (0.8, 0.5, 0.0)
RANDOM = np.random.default_rng(0)


def weight(name, *shape):
    return numpy_helper.from_array(
        (RANDOM.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32), name
    )


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def model(nodes, initializers, *, inputs, outputs=("y",), opset=17, extra=()):
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph(nodes, "net", values, results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *extra], ir_version=8)


def convolutional(opset):
    """As torch's old exporter writes it: BatchNorm kept, weights listed, names with colons."""
    nodes = [
        helper.make_node("Conv", ["x", "onnx::Conv_1", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Conv", ["r", "dw"], ["d"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["d"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc", "fb"], ["y"], transB=1),
    ]
    numbers = [
        weight("onnx::Conv_1", 8, 3, 3, 3),
        weight("b", 8),
        weight("dw", 8, 1, 3, 3),
        weight("fc", 5, 8),
        weight("fb", 5),
        constant("scale", np.ones(8, "f4")),
        constant("bias", np.zeros(8, "f4")),
        constant("mean", np.zeros(8, "f4")),
        constant("var", np.full(8, 0.5, "f4")),
    ]
    return model(nodes, numbers, inputs={"x": ["N", 3, 8, 8]}, opset=opset)


def tensorflow_like():
    """As tf2onnx writes it: images channels last, transposes, MatMul with the weight on the right."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "kernel"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["b"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["b"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "dense"], ["d"]),
        helper.make_node("Add", ["d", "bias"], ["y"]),
    ]
    numbers = [weight("kernel", 6, 3, 3, 3), weight("dense", 6, 4), weight("bias", 4)]
    return model(nodes, numbers, inputs={"x": ["unk__1", 8, 8, 3]}, opset=13)


def recurrent():
    """An LSTM, a constant node as a weight, and a weight that is transposed on its way."""
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["s"], hidden_size=4),
        helper.make_node("Squeeze", ["s", "one"], ["q"]),
        helper.make_node("Constant", [], ["k"], value=weight("k", 4, 6)),
        helper.make_node("MatMul", ["q", "k"], ["h"]),
        helper.make_node("Transpose", ["t"], ["tt"], perm=[1, 0]),
        helper.make_node("MatMul", ["h", "tt"], ["y"]),
    ]
    numbers = [
        weight("W", 1, 16, 3),
        weight("R", 1, 16, 4),
        weight("B", 1, 32),
        weight("t", 2, 6),
        constant("one", [1]),
    ]
    return model(nodes, numbers, inputs={"x": [5, "N", 3]}, opset=14)


def scikit_like():
    """A perceptron of two layers with the batch free."""
    nodes = [
        helper.make_node("MatMul", ["x", "coefficient"], ["m"]),
        helper.make_node("Add", ["m", "intercepts"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "coefficient1"], ["g"]),
        helper.make_node("Softmax", ["g"], ["y"], axis=1),
    ]
    numbers = [weight("coefficient", 7, 12), weight("intercepts", 1, 12), weight("coefficient1", 12, 3)]
    return model(nodes, numbers, inputs={"x": [None, 7]}, opset=11)


FILES = {
    "torch, opset 11": lambda: convolutional(11),
    "torch, opset 17": lambda: convolutional(17),
    "torch, opset 22": lambda: convolutional(22),
    "tf2onnx": tensorflow_like,
    "recurrent": recurrent,
    "scikit-learn": scikit_like,
}
NESTED = {
    "tf2onnx": {"kernel", "dense"},
    "recurrent": {"W", "R", "k", "t"},
    "scikit-learn": {"coefficient", "coefficient1"},
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("granularity", ["unstructured", "1x4"])
def test_every_level_equals_the_file_with_masked_weights(name, granularity, tmp_path):
    """Also the dense one, which is the file itself; computed by ONNX Runtime from the file as it was."""
    onnx.save(FILES[name](), tmp_path / "m.onnx")
    graph, notes = nest_onnx(tmp_path / "m.onnx", LEVELS, granularity=granularity, include=["*"])
    assert set(graph.nested) == NESTED.get(name, {"onnx::Conv_1", "dw", "fc"})
    assert "are nested" in notes[0]
    import onnxruntime

    shape = [size if isinstance(size, int) else 4 for size in next(iter(graph.inputs.values())).shape]
    shape = [4 if size is None else size for size in shape]
    feed = {next(iter(graph.inputs)): RANDOM.standard_normal(shape).astype(np.float32)}
    (expected,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, feed)
    answers = [next(iter(answer.values())) for answer in run_canonical(graph, feed)]
    np.testing.assert_allclose(answers[-1], expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(answers[0], expected)


def test_a_bundle_is_built_of_it(tmp_path):
    """The graph goes the same way as one from torch."""
    onnx.save(convolutional(17), tmp_path / "m.onnx")
    graph, _ = nest_onnx(tmp_path / "m.onnx", LEVELS, include=["*"])
    graph.save(tmp_path / "levels.onnx")
    assert CanonicalGraph.load(tmp_path / "levels.onnx").ladder.sparsities == LEVELS
    build_bundle(tmp_path / "levels.onnx", "generic-x86-64", tmp_path / "bundle", variants=["ort-switch"])
    assert verify_bundle(tmp_path / "bundle").ok


def test_external_data_is_read_and_weights_are_excluded(tmp_path):
    """A file with its weights beside it; a pattern keeps one dense."""
    onnx.save(convolutional(17), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    graph, notes = nest_onnx(tmp_path / "m.onnx", LEVELS, include=["*"], exclude=["fc"])
    assert set(graph.nested) == {"onnx::Conv_1", "dw"}
    assert any("fc" in note and "--exclude" in note for note in notes)
    with pytest.raises(UsageError, match="matches no weight"):
        nest_onnx(tmp_path / "m.onnx", LEVELS, include=["head.*"])


def _with(node, domain="", numbers=()):
    extra = [helper.make_opsetid(domain, 1)] if domain else []
    return lambda: model(
        [node], [weight("w", 3, 4), *numbers], inputs={"x": [None, 3]}, opset=17, extra=extra
    )


REFUSED = {
    "quantised": (_with(helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])), "is quantised"),
    "custom": (
        _with(helper.make_node("Fast", ["x"], ["y"], domain="acme"), "acme"),
        "another domain, acme::Fast",
    ),
    "norm in training": (
        lambda: model(
            [
                helper.make_node("Conv", ["x", "w"], ["c"]),
                helper.make_node(
                    "BatchNormalization", ["c", *"sbmv"], ["y", "mean", "variance"], training_mode=1
                ),
            ],
            [weight("w", 4, 3, 1, 1), *(weight(name, 4) for name in "sbmv")],
            inputs={"x": [None, 3, 8, 8]},
        ),
        "exported for training: its node BatchNormalization",
    ),
    "dropout in training": (
        _with(
            helper.make_node("Dropout", ["x", "ratio", "training"], ["y"]),
            numbers=[
                numpy_helper.from_array(np.float32(0.5), "ratio"),
                numpy_helper.from_array(np.bool_(True), "training"),
            ],
        ),
        "exported for training: its node Dropout",
    ),
    "random": (_with(helper.make_node("RandomNormalLike", ["x"], ["y"])), "draws at random"),
    "no weights": (_with(helper.make_node("Relu", ["x"], ["y"])), "no weight that can be sparse"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_cannot_take_levels_say_why(name, tmp_path):
    """Naming the operator and what to do."""
    make, words = REFUSED[name]
    onnx.save(make(), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=words):
        nest_onnx(tmp_path / "m.onnx", LEVELS)


def test_sequences_training_graphs_and_damage_are_refused(tmp_path):
    """Each in a sentence."""
    path = tmp_path / "m.onnx"
    made = convolutional(17)
    made.graph.output[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ExportError, match=r"is no tensor.*zipmap"):
        nest_onnx(path, LEVELS)
    made = convolutional(17)
    made.training_info.add()
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ExportError, match="training graph"):
        nest_onnx(path, LEVELS)
    path.write_bytes(b"no model")
    with pytest.raises(ExportError, match="not a readable ONNX model"):
        nest_onnx(path, LEVELS)
    with pytest.raises(ExportError, match="no model at"):
        nest_onnx(tmp_path / "none.onnx", LEVELS)


@pytest.mark.parametrize("opset", [13, 20])
def test_lists_of_tensors_inside_are_no_hindrance(opset, tmp_path):
    """As TorchScript's exporter writes a split into parts."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["c"]),
        helper.make_node("SplitToSequence", ["c", "size"], ["parts"], axis=1),
        helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=0),
    ]
    size = numpy_helper.from_array(np.int64(2), "size")
    made = model(nodes, [weight("w", 3, 4), size], inputs={"x": [None, 3]}, opset=opset)
    onnx.save(made, tmp_path / "m.onnx")
    graph, _ = nest_onnx(tmp_path / "m.onnx", LEVELS)
    assert graph.nested == ("w",)


def test_the_command_line_needs_no_torch(tmp_path):
    """`sparsify model.onnx` writes the graph; torch is never imported."""
    onnx.save(convolutional(17), tmp_path / "m.onnx")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        f"sys.argv = ['elsa-edge', 'sparsify', {str(tmp_path / 'm.onnx')!r}, '--levels', '0.8,0',"
        f" '-o', {str(tmp_path / 'l.onnx')!r}]\n"
        "from elsa_edge.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert CanonicalGraph.load(tmp_path / "l.onnx").ladder.sparsities == (0.8, 0.0)


def test_a_branch_that_hands_an_outer_value_through_stays_whole(tmp_path):
    """The Identity in a branch of an If is required; only those of the main graph go."""
    branch = {
        name: helper.make_graph(
            [helper.make_node(kind, ["m"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name, kind in (("then", "Identity"), ("else", "Neg"))
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("ReduceSum", ["m"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["z"], then_branch=branch["then"], else_branch=branch["else"]),
        helper.make_node("Identity", ["z"], ["y"]),
    ]
    made = model(
        nodes, [weight("w", 3, 4), constant("zero", np.float32(0))], inputs={"x": [None, 3]}, opset=20
    )
    onnx.save(made, tmp_path / "m.onnx")
    graph, _ = nest_onnx(tmp_path / "m.onnx", LEVELS, include=["*"])
    assert list(graph.outputs) == ["y"]


def test_free_sizes_written_as_minus_one_and_sizes_that_do_not_run_are_tried(tmp_path):
    """A file whose images need 32 pixels at least still gets its proof."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[16, 16]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    made = model(nodes, [weight("w", 4, 3, 20, 20)], inputs={"x": [-1, 3, -1, -1]}, opset=13)
    onnx.save(made, tmp_path / "m.onnx")
    graph, _ = nest_onnx(tmp_path / "m.onnx", LEVELS, include=["*"])
    assert graph.inputs["x"].shape == (None, 3, None, None)


def test_scales_of_a_resize_are_no_weights(tmp_path):
    """The proof moves weights by their last place; a scale that moves would give another shape."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["c", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("Add", ["r", "x2"], ["y"]),
    ]
    numbers = [weight("w", 4, 3, 3, 3), constant("scales", np.array([1, 1, 2, 2], "f4"))]
    made = model(nodes, numbers, inputs={"x": ["N", 3, 6, 6], "x2": ["N", 4, 12, 12]})
    onnx.save(made, tmp_path / "m.onnx")
    graph, _ = nest_onnx(tmp_path / "m.onnx", LEVELS, include=["*"])
    assert set(graph.nested) == {"w"}


def test_inner_shapes_that_a_tool_wrote_wrongly_do_not_matter(tmp_path, capfd):
    """They are inferred anew, and nothing of it reaches the user."""
    made = tensorflow_like()
    made.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, [-1, 5]))
    made.graph.output[0].type.tensor_type.shape.dim.add().dim_value = -1
    made.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 4
    onnx.save(made, tmp_path / "m.onnx")
    graph, _ = nest_onnx(tmp_path / "m.onnx", LEVELS, include=["*"])
    assert list(graph.outputs) == ["y"]
    assert "inference" not in capfd.readouterr().err


@pytest.mark.parametrize(("offset", "plain"), [(0.0, True), (-15.0, False)])
def test_outputs_as_small_as_their_rounding_are_no_proof(offset, plain, tmp_path):
    """A sigmoid of -15 has a dozen steps: other made-up inputs are taken than those that do for others."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "far"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["y"]),
    ]
    matrix = np.random.default_rng(5).standard_normal((8, 6)).astype(np.float32) / 2
    numbers = [constant("w", matrix), constant("far", np.full(6, offset, "f4"))]
    onnx.save(model(nodes, numbers, inputs={"x": ["N", 8]}), tmp_path / "m.onnx")
    graph, _ = nest_onnx(tmp_path / "m.onnx", (0.5, 0.0))
    assert (graph.provenance["proof"]["inputs"] == "normal") == plain


def test_weights_inside_a_branch_are_named(tmp_path):
    """A network that lies whole inside an If has no level; the branch can be exported alone."""
    branch = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", f"w{number}"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
            [weight(f"w{number}", 3, 4)],
        )
        for number, name in enumerate(("then", "else"))
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["y"], name="rate", then_branch=branch[0], else_branch=branch[1]
        ),
    ]
    onnx.save(model(nodes, [constant("zero", np.float32(0))], inputs={"x": [None, 3]}), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"inside If rate.*Export the one branch"):
        nest_onnx(tmp_path / "m.onnx", LEVELS)


def normalised():
    """Two convolutions with BatchNorm behind them and a layer with a bias of its own."""
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["c1"], name="c1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "s1", "b1", "m1", "v1"], ["n1"], name="n1"),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Conv", ["r1", "k2", "b2"], ["c2"], name="c2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("Add", ["h", "bias"], ["y"], name="y"),
    ]
    generator = np.random.default_rng(3)
    arrays = {
        "k1": generator.standard_normal((8, 3, 3, 3)) / 3, "s1": np.ones(8), "b1": np.zeros(8),
        "m1": np.zeros(8), "v1": np.full(8, 3.0), "k2": generator.standard_normal((6, 8, 3, 3)) / 5,
        "b2": generator.standard_normal(6), "w": generator.standard_normal((6, 4)), "bias": np.ones(4),
    }  # fmt: skip
    numbers = [constant(name, array.astype("f4")) for name, array in arrays.items()]
    return model(nodes, numbers, inputs={"x": ["N", 3, 12, 12]})


def test_data_puts_statistics_and_biases_right_at_each_level(tmp_path):
    """By hand: the BatchNorm's input at the sparsest level, and the mean of the answers, which is the dense one's."""
    onnx.save(normalised(), tmp_path / "m.onnx")
    x = RANDOM.standard_normal((16, 3, 12, 12)).astype(np.float32) + 0.5
    np.savez(tmp_path / "d.npz", x=x)
    graph, notes = nest_onnx(tmp_path / "m.onnx", LEVELS, inputs=tmp_path / "d.npz")
    tables = {
        name.removesuffix(".levels"): value.const_value.numpy()
        for name, value in graph.model.graph.initializers.items()
        if name.endswith(".levels")
    }
    assert set(tables) == {"m1", "v1", "b2", "bias"}
    assert any("put right" in note for note in notes)
    np.testing.assert_array_equal(tables["v1"][-1], np.full(8, 3.0, "f4"))
    import torch

    kernel = torch.from_numpy(numpy_helper.to_array(normalised().graph.initializer[0]).copy())
    kernel[torch.from_numpy(graph.index("k1").copy()) > 0] = 0
    before = torch.nn.functional.conv2d(torch.from_numpy(x), kernel, padding=1)
    np.testing.assert_allclose(tables["m1"][0], before.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tables["v1"][0], before.var((0, 2, 3), correction=0), rtol=1e-4)
    answers = [answer["y"].mean(0) for answer in run_canonical(graph, {"x": x})]
    for answer in answers:
        np.testing.assert_allclose(answer, answers[-1], rtol=1e-4, atol=1e-5)


def test_outputs_cut_off_what_only_others_need(tmp_path):
    """A label of scikit-learn's own operators goes, the probabilities stay; a wrong name lists the right ones."""
    made = scikit_like()
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    made.graph.node.append(
        helper.make_node("ArrayFeatureExtractor", ["y", "k"], ["label"], domain="ai.onnx.ml")
    )
    made.graph.output.append(helper.make_tensor_value_info("label", TensorProto.FLOAT, None))
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"ArrayFeatureExtractor.*--outputs NAME"):
        nest_onnx(tmp_path / "m.onnx", LEVELS)
    graph, _ = nest_onnx(tmp_path / "m.onnx", LEVELS, outputs=["y"])
    assert list(graph.outputs) == ["y"]
    inner, _ = nest_onnx(tmp_path / "m.onnx", LEVELS, outputs=["a"])
    assert set(inner.nested) == {"coefficient"}
    with pytest.raises(ExportError, match=r"no tensor 'z' to end at.*label"):
        nest_onnx(tmp_path / "m.onnx", LEVELS, outputs=["z"])
