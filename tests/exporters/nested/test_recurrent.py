"""Recurrent layers with nested weights compute what ONNX Runtime's own cells compute, at every level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.cells import GATES, Array

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Nested
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.exporters.nested.find import find_layers
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.nested_format.library import library_path
from elsa_edge.nested_format.operators import GRU, LSTM
from elsa_edge.onnx_levels import nest_onnx
from elsa_edge.profiles import load_profile
from elsa_edge.running.onnx_session import Settings, open_session, options_for

PROFILE = load_profile("generic-x86-64")
STEPS, BATCH, WIDTH, UNITS = 5, 2, 7, 12


def network(
    folder: Path,
    operator: str,
    direction: str = "forward",
    *,
    given: str = "",
    outputs: str = "y h",
    **attributes,
) -> CanonicalGraph:
    """Nest a layer with biases and one more product; `given` and `outputs` name the states that are read and made."""
    random = np.random.default_rng(0)
    directions, rows = 1 + (direction == "bidirectional"), GATES[operator] * UNITS

    def normal(*shape: int) -> Array:
        return random.standard_normal(shape).astype(np.float32) / 2

    arrays = {
        "w": normal(directions, rows, WIDTH),
        "r": normal(directions, rows, UNITS),
        "b": normal(directions, 2 * rows),
        "head": normal(UNITS, 3),
    }
    ends = [directions, BATCH, UNITS]
    types = {
        "lengths": (TensorProto.INT32, [BATCH]),
        "h0": (TensorProto.FLOAT, ends),
        "c0": (TensorProto.FLOAT, ends),
    }
    names = [name if name in given.split() else "" for name in ("lengths", "h0", "c0")]
    made = [name if name in outputs.split() else "" for name in ("y", "h", "c")][
        : 3 if operator == "LSTM" else 2
    ]
    nodes = [
        helper.make_node(
            operator, ["x", "w", "r", "b", *names], made, hidden_size=UNITS, direction=direction, **attributes
        ),
        helper.make_node("MatMul", [outputs.split(maxsplit=1)[0], "head"], ["logits"]),
    ]
    inputs = {"x": (TensorProto.FLOAT, [STEPS, BATCH, WIDTH]), **{n: types[n] for n in given.split()}}
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info(name, *described) for name, described in inputs.items()],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("logits", *outputs.split()[1:])
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "one.onnx")
    return nest_onnx(folder / "one.onnx", (0.9, 0.5, 0.0), prove=False)[0]


def check(graph: CanonicalGraph, folder: Path, feed: dict[str, Array]) -> None:
    """Compare every level, all layers nested, with the canonical graph."""
    golden = Golden(feed, run_canonical(graph, feed))
    variant = OrtNestedExporter(choose="nested").export(graph, PROFILE, golden, folder)
    assert isinstance(variant.instructions, Nested)
    assert all(len(names) == 2 for names in variant.instructions.nested_layers)
    # A state that nobody reads has no name, so that no time goes into writing it.
    layer = next(node for node in graph.model.graph if node.op_type in GATES)
    read = [bool(made.uses()) or made.is_graph_output() for made in layer.outputs]
    made = [node for node in ir.load(folder / "model.onnx").graph.all_nodes() if node.op_type in {LSTM, GRU}]
    assert made
    assert all([bool(output.name) for output in node.outputs] == read for node in made)
    options = options_for(Settings(threads=1), libraries=(str(library_path()),))
    running = open_session(folder / "model.onnx", options)
    for level, expected in enumerate(golden.outputs):
        found = running.run(list(expected), {**feed, LEVEL_INPUT: np.array(level)})
        for name, array in zip(expected, found, strict=True):
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5, err_msg=f"{level} {name}")


CASES = [
    ("LSTM", {}),
    ("LSTM", {"direction": "reverse", "outputs": "h y c", "given": "h0 c0"}),
    ("LSTM", {"direction": "bidirectional", "outputs": "y c", "given": "lengths"}),
    ("LSTM", {"outputs": "c", "direction": "bidirectional"}),
    ("GRU", {"outputs": "h"}),
    ("GRU", {"linear_before_reset": 1, "direction": "bidirectional", "given": "lengths h0"}),
    ("GRU", {"direction": "reverse", "given": "h0"}),
]


@pytest.mark.parametrize(("operator", "settings"), CASES)
def test_every_level_answers_as_the_runtimes_own_cells(
    operator: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Directions, states and lengths that are given, outputs that are read."""
    graph = network(tmp_path, operator, **settings)
    random = np.random.default_rng(1)
    directions = 1 + (settings.get("direction") == "bidirectional")
    feed = {"x": random.standard_normal((STEPS, BATCH, WIDTH)).astype(np.float32)}
    for name in settings.get("given", "").split():
        feed[name] = (
            np.array([STEPS, 2], np.int32)
            if name == "lengths"
            else random.standard_normal((directions, BATCH, UNITS)).astype(np.float32)
        )
    check(graph, tmp_path, feed)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"layout": 1}, "its batch comes before its steps"),
        ({"clip": 1.0}, "its cells clip, couple gates or have peepholes"),
        ({"activations": ["Sigmoid", "Relu"]}, "its cells have other activations than sigmoid and tanh"),
    ],
)
def test_unusual_cells_are_named(settings: dict[str, Any], reason: str) -> None:
    """What is not computed stays the runtime's own, and a person reads why."""
    weights = {"w": np.ones((1, 9, 2), np.float32), "r": np.ones((1, 9, 3), np.float32)}
    node = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=3, **settings)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    layers, refused = find_layers([ir.from_proto(model)])
    assert layers == []
    assert list(refused.values()) == [reason]
