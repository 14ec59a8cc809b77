"""Weights as the densest level stores them give the weights of every level back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.densest import DensestWeight, densest_weights
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.fixed import at_level
from elsa_edge.graph.names import IR_VERSION, OPSET
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec


def computed(weight: DensestWeight) -> np.ndarray:
    """Return what ONNX Runtime makes of the nodes that restore a weight."""
    stored = ir.Value(
        name="stored", shape=ir.Shape(weight.numbers.shape), type=ir.TensorType(ir.DataType.FLOAT)
    )
    graph = ir.Graph(inputs=[stored], outputs=[], nodes=[], opset_imports={"": OPSET}, name="restored")
    result = weight.restored(graph, stored, "w")
    same = ir.node("Identity", [result])
    same.outputs[0].name, same.outputs[0].type = "w", stored.type
    graph.append(same)
    graph.outputs.append(same.outputs[0])
    model = ir.to_proto(ir.Model(graph, ir_version=IR_VERSION))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"stored": weight.numbers})
    return np.asarray(found)


def test_every_weight_comes_back_where_the_densest_level_uses_it(any_graph: CanonicalGraph) -> None:
    """On every network of the zoo, in numpy and in ONNX Runtime alike."""
    last = len(any_graph.ladder) - 1
    for name, weight in densest_weights(any_graph, least_bytes=0).items():
        restored = computed(weight)
        np.testing.assert_array_equal(restored, weight.restored_here())
        used = any_graph.index(name) <= last
        np.testing.assert_allclose(restored[used], any_graph.weight(name)[used], rtol=3e-7, atol=0)


def test_the_numbers_are_those_of_the_plain_densest_network(canonical) -> None:
    """Bit for bit, so that they are the same bytes wherever both are stored."""
    graph = canonical("mlp")
    plain = at_level(graph, len(graph.ladder) - 1).graph
    readers = {node.outputs[0].name: node for node in plain}
    found = densest_weights(graph, least_bytes=0)
    assert set(found) == set(graph.nested)
    for weight in found.values():
        stored = readers[weight.result].inputs[weight.operand]
        assert stored is not None
        assert stored.const_value is not None
        assert stored.const_value.tobytes() == weight.numbers.tobytes()


def test_a_weight_that_its_norm_multiplies_by_zero_is_left_alone() -> None:
    """Nothing brings it back, and a sparser level may still need it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    with torch.no_grad():
        model[1].weight[2] = 0.0
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, [TensorSpec("", (1, 3, 8, 8))])
    assert set(densest_weights(graph, least_bytes=0)) == {"3.weight"}


@given(
    st.lists(st.floats(min_value=2.0**-40, max_value=2.0**40, width=32), min_size=3, max_size=3),
    st.permutations([0, 1, 2]),
    st.integers(0, 2**32 - 1),
)
def test_products_and_transpositions_are_undone(factors: list[float], perm: list[int], seed: int) -> None:
    """Whatever their order and size, within the roundings of one product and one division."""
    original = np.random.default_rng(seed).standard_normal((3, 2, 4)).astype(np.float32)
    scale = np.array(factors, np.float32).reshape(3, 1, 1)
    numbers = np.transpose(original * scale, perm)
    weight = DensestWeight(numbers, (scale, tuple(perm)), "y", 1)
    np.testing.assert_allclose(weight.restored_here(), original, rtol=3 * 2.0**-24, atol=0)
