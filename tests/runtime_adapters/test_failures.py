"""A runtime's failure is told as what it is: the inputs, the memory, or the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from elsa_edge.errors import InferenceError, InputError, OutOfMemoryError
from elsa_edge.plugins import MemoryUse
from elsa_edge.running.onnx_session import open_session, options_for
from elsa_edge.runtime_adapters.failures import failure
from elsa_edge.runtime_adapters.ort.sessions import SessionPerLevel, specs_of


def opened(folder: Path, operator: str) -> SessionPerLevel:
    """A network of one operator over two inputs of any size: floats `x` and whole numbers `n`, or floats `z`."""
    second = ("z", TensorProto.FLOAT) if operator == "Add" else ("n", TensorProto.INT64)
    inputs = [
        helper.make_tensor_value_info(name, kind, [None]) for name, kind in (("x", TensorProto.FLOAT), second)
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    node = helper.make_node(operator, ["x", second[0]], ["y"])
    graph = helper.make_graph([node], "g", inputs, outputs)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
        folder / "m.onnx",
    )
    session = open_session(folder / "m.onnx", options_for())
    return SessionPerLevel(
        [folder / "m.onnx"],
        lambda path: open_session(path, options_for()),
        MemoryUse(0, (1,)),
        specs_of(session.get_inputs()),
        specs_of(session.get_outputs()),
    )


X = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("operator", "feed", "error", "words"),
    [
        ("Expand", {"x": X[:1], "n": np.array([2**44])}, OutOfMemoryError, "not enough memory"),
        ("Gather", {"x": X, "n": np.array([7])}, InputError, "on these inputs .*idx=7"),
        ("Add", {"x": X, "z": np.ones(4, np.float32)}, InferenceError, "failed inside the network .*Add"),
    ],
)
def test_the_real_runtime_is_understood(tmp_path: Path, operator, feed, error, words: str) -> None:
    """Sizes that cannot be allocated, an index that is out of range, and sizes that do not fit each other."""
    network = opened(tmp_path, operator)
    with pytest.raises(error, match=words) as caught:
        network.run(feed, 0)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("std::bad_alloc"), OutOfMemoryError),
        (RuntimeError("Node number 3 (ADD) failed to invoke."), InferenceError),
        (ValueError("index 9 out of bounds"), InputError),
    ],
)
def test_words_decide_where_there_are_no_classes(raised: Exception, kind: type) -> None:
    """The two runtimes and Python itself."""
    assert type(failure("A runtime", raised)) is kind
