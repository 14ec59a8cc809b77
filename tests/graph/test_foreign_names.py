"""Names and functions of other tools' files that stand where a canonical graph has its own."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from elsa_edge.errors import ExportError
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.onnx_levels import nest_onnx
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec


class Named(nn.Module):
    """A layer under a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.Linear(8, 4))

    def forward(self, x):
        return self._modules[self.name](x)


def two_products(inner: tuple[str, str, str], functions=()) -> onnx.ModelProto:
    """Return x -> product -> ReLU -> product, whose inner tensors have these names."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w1", (8, 32)), ("w2", (32, 4)))
    ]
    first, second, third = inner
    product = "Product" if functions else "MatMul"
    nodes = [
        helper.make_node(product, ["x", "w1"], [first], domain="own.domain" if functions else ""),
        helper.make_node("Relu", [first], [second]),
        helper.make_node("MatMul", [second, "w2"], [third]),
        helper.make_node("Relu", [third], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", s]) for n, s in (("x", 8), ("y", 4))
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own.domain", 1)]
    return helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], weights),
        opset_imports=opsets,
        functions=functions,
        ir_version=9,
    )


def dense_difference(model: onnx.ModelProto, path) -> float:
    onnx.save(model, path)
    graph, _ = nest_onnx(path, (0.5, 0.0))
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
    return float(np.abs(run_canonical(graph, {"x": x})[-1]["y"] - expected).max())


@pytest.mark.parametrize(
    "inner",
    [("w1.masked", "level.zero", "w2.kept"), ("level", "level.checked", "w2.level_index"), ("a", "b", "c")],
)
def test_inner_tensors_make_way_for_the_parts_of_a_canonical_graph(inner, tmp_path) -> None:
    assert dense_difference(two_products(inner), tmp_path / "model.onnx") < 1e-5


def test_local_functions_of_older_operators_are_inlined(tmp_path) -> None:
    """The conversion to the newest operators knows no functions, so they go first."""
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    product = helper.make_function(
        "own.domain", "Product", ["a", "b"], ["c"], body, [helper.make_opsetid("", 17)]
    )

    assert dense_difference(two_products(("a", "b", "c"), [product]), tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("name", ["meta", "graph", "code"])
def test_a_part_named_as_what_torch_makes_of_a_network_is_refused_by_name(name) -> None:
    model = Named(name).eval()
    checkpoint = sparsify(model, (0.5, 0.0))

    with pytest.raises(ExportError, match=f"'{name}', which is an attribute"):
        export_canonical(checkpoint, model, [TensorSpec("x", (1, 8))])


def test_an_output_that_its_file_declares_too_narrowly_follows_the_free_input(tmp_path) -> None:
    """Some exporters leave the sizes of the example at the output."""
    model = two_products(("a", "b", "c"))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 7
    onnx.save(model, tmp_path / "model.onnx")

    graph, _ = nest_onnx(tmp_path / "model.onnx", (0.5, 0.0))
    assert [str(size) for size in graph.model.graph.outputs[0].shape] == ["batch", "4"]
    for batch in (3, 7):
        x = np.ones((batch, 8), np.float32)
        assert all(len(answers["y"]) == batch for answers in run_canonical(graph, {"x": x}))
