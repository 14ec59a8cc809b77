"""Inputs and outputs read from an ONNX file's header are those that the runtime reports."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from elsa_edge.running.onnx_session import open_session, options_for
from elsa_edge.runtime_adapters.ort.header import inputs_and_outputs
from elsa_edge.runtime_adapters.ort.sessions import specs_of
from elsa_edge.tensors import TensorSpec


def test_every_network_of_the_zoo(any_graph, tmp_path: Path) -> None:
    """Names, order, types and sizes; `level` is an input of the file like others."""
    any_graph.save(tmp_path / "model.onnx")
    inputs, outputs = inputs_and_outputs(tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx", options_for())
    assert inputs.pop("level") == TensorSpec("level", (), "int64")
    assert inputs == specs_of(session.get_inputs())
    assert outputs == specs_of(session.get_outputs())


def _saved(path: Path, kind: int, shape: list[object] | None) -> Path:
    value = helper.make_tensor_value_info("x", kind, shape)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    stored = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [value, stored], [out], [weight]
    )
    onnx.save(helper.make_model(graph), path)
    return path


def test_sizes_that_are_free_and_weights_that_are_listed_as_inputs(tmp_path: Path) -> None:
    """A named size, one without a name and -1 are free; an input that has a stored value is a weight."""
    path = _saved(tmp_path / "m.onnx", TensorProto.FLOAT16, ["N", None, -1, 3])
    assert inputs_and_outputs(path)[0] == {"x": TensorSpec("x", (None, None, None, 3), "float16")}


@pytest.mark.parametrize(
    ("kind", "shape"), [(TensorProto.FLOAT, None), (TensorProto.STRING, [1]), (TensorProto.UNDEFINED, [1])]
)
def test_what_the_header_does_not_say_is_not_made_up(tmp_path: Path, kind, shape) -> None:
    with pytest.raises(ValueError, match=r"no field 2|no type"):
        inputs_and_outputs(_saved(tmp_path / "m.onnx", kind, shape))


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"not a model at all", b"\x3a\x7f"])
def test_what_is_no_model_is_no_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"cut off|wire type|no field|empty"):
        inputs_and_outputs(tmp_path / "m.onnx")
