"""Moving external data: every byte arrives, aligned, and the rest of the model is untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from elsa_edge.runtime_adapters.ort.align import ALIGNMENT, align_external_data, external_spans

SIZES = (3, 64, 17, 1000)


def external(name: str, offset: int, length: int, **more: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[length])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "old.bin", "offset": str(offset), "length": str(length), **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def write(folder: Path) -> bytes:
    """Write a model with tensors at two depths, one with prepacked blobs, and its data; return the data."""
    data = np.random.default_rng(0).integers(0, 256, sum(SIZES) + 50, dtype=np.uint8).tobytes()
    (folder / "old.bin").write_bytes(data)
    starts = np.cumsum((0, *SIZES))
    packed = f"Gemm+123|{starts[-1]};7;0|{starts[-1] + 7};9;5"
    inner = helper.make_graph(
        [helper.make_node("Identity", ["deep"], ["y"])],
        "then",
        [],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [17])],
        initializer=[external("deep", int(starts[2]), 17)],
    )
    choice = helper.make_node("If", ["c"], ["out"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [choice],
        "outer",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("out", TensorProto.UINT8, [17])],
        initializer=[
            external("a", 0, 3, prepacked_0=packed),
            external("b", int(starts[1]), 64),
            external("d", int(starts[3]), 1000),
            helper.make_tensor("small", TensorProto.INT64, [2], [1, -5]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="k", value="v" * 300)
    (folder / "old.onnx").write_bytes(model.SerializeToString())
    return data


def test_every_byte_arrives_aligned_and_nothing_else_changes(tmp_path: Path) -> None:
    """Tensors in the graph and in subgraphs, and prepacked blobs."""
    data = write(tmp_path)
    before = external_spans(tmp_path / "old.onnx")

    align_external_data(*(tmp_path / name for name in ("old.onnx", "old.bin", "new.onnx", "new.bin")))

    after = external_spans(tmp_path / "new.onnx")
    moved = (tmp_path / "new.bin").read_bytes()
    assert len(after) == len(before) == 7
    for (old, length), (new, same) in zip(before, after, strict=True):
        assert length == same
        assert new % ALIGNMENT == 0
        assert moved[new : new + length] == data[old : old + length]
    old_model, new_model = (
        onnx.load(tmp_path / n, load_external_data=False) for n in ("old.onnx", "new.onnx")
    )
    for model in (old_model, new_model):
        for graph in (model.graph, *(a.g for node in model.graph.node for a in node.attribute)):
            for tensor in graph.initializer:
                del tensor.external_data[:]
    assert old_model == new_model
    assert (
        onnx.load(tmp_path / "new.onnx", load_external_data=False).graph.initializer[0].external_data[0].value
        == "new.bin"
    )


def test_a_span_outside_the_data_is_refused(tmp_path: Path) -> None:
    """A model that points past the end of its data is never mapped."""
    write(tmp_path)
    (tmp_path / "old.bin").write_bytes(b"short")
    with pytest.raises(ValueError, match="outside a file"):
        align_external_data(*(tmp_path / name for name in ("old.onnx", "old.bin", "new.onnx", "new.bin")))


@pytest.mark.parametrize("content", [b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x05ab", b"\xff" * 11, b"\x3b"])
def test_a_cut_model_is_refused(tmp_path: Path, content: bytes) -> None:
    """Broken wire format ends in a ValueError, never in an endless loop."""
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"cut off|wire type"):
        external_spans(tmp_path / "m.onnx")
