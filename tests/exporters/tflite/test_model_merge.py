"""The flatbuffer in memory: exact round trips, aligned data, shared buffers, signatures; damage is named."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from support.tflite_models import fully_connected, sparse_weight

from elsa_edge.errors import ContractError, ExportError
from elsa_edge.exporters.tflite.interpreter import Interpreter
from elsa_edge.exporters.tflite.merge import merge
from elsa_edge.exporters.tflite.model import TfliteModel


@pytest.fixture
def layers():
    return [sparse_weight((12, 8), 1.0, 1), sparse_weight((5, 12), 1.0, 2)]


def test_writing_and_reading_again_changes_no_byte(layers):
    """The form that we write is a fixed point."""
    content = fully_connected(layers).to_bytes()

    assert TfliteModel.from_bytes(content).to_bytes() == content


def test_constant_data_lie_on_sixteen_bytes(layers):
    """Kernels load them as vectors."""
    content = fully_connected(layers).to_bytes()

    assert [content.index(weight.tobytes()) % 16 for weight in layers] == [0, 0]


@pytest.mark.parametrize("content", [b"", b"not a model", b"\0\0\0\0TFL2" + bytes(40)])
def test_bytes_that_are_no_model_are_refused(content):
    """The error says what was expected."""
    with pytest.raises(ExportError, match="TFL3"):
        TfliteModel.from_bytes(content)


def test_a_cut_file_is_refused(layers):
    """A damaged offset table ends in an error, not in a traceback from the reader."""
    content = fully_connected(layers).to_bytes()

    with pytest.raises((ExportError, ContractError)):
        Interpreter(TfliteModel.from_bytes(content[:60]).to_bytes())


def test_data_behind_the_flatbuffer_are_brought_in(layers):
    """Writers of large models put constants at the end of the file; the quantiser does so."""
    model = fully_connected(layers)
    buffer = model.tree.buffers[model.graph.tensors[1].buffer]
    head = len(model.to_bytes()) + 64
    buffer.data, buffer.offset, buffer.size = None, head, layers[0].nbytes
    builder = flatbuffers.Builder(0)
    for item in model.tree.buffers:
        vars(item).pop("Pack", None)
    builder.Finish(model.tree.Pack(builder), b"TFL3")
    content = bytes(builder.Output()).ljust(head, b"\0") + layers[0].tobytes()

    read = TfliteModel.from_bytes(content)

    assert np.array_equal(read.constant(read.graph.tensors[1]), layers[0])
    with pytest.raises(ExportError, match="damaged"):
        TfliteModel.from_bytes(content[:-1])


def test_unused_tensors_and_equal_buffers_go(layers):
    """Cleaning keeps the numbers."""
    model = fully_connected(layers)
    model.add_buffer(np.zeros(1000, np.float32))
    model.graph.tensors[3].buffer = model.add_buffer(layers[1])
    expected = Interpreter(model.to_bytes()).run({"x": np.ones((1, 8), np.float32)})["y"]

    model.drop_unused()

    assert len(model.tree.buffers) == 3
    assert np.array_equal(
        Interpreter(model.to_bytes()).run({"x": np.ones((1, 8), np.float32)})["y"], expected
    )


def test_every_signature_computes_what_its_model_computed(layers):
    """Three models in one file, with different weights."""
    x = np.ones((1, 8), np.float32)
    variants = {f"level_{k}": [layers[0] * (k + 1), layers[1]] for k in range(3)}
    expected = {k: Interpreter(fully_connected(w).to_bytes()).run({"x": x})["y"] for k, w in variants.items()}

    merged = merge({key: fully_connected(weights) for key, weights in variants.items()})

    interpreter = Interpreter(merged.to_bytes())
    assert {k: interpreter.run({"x": x}, k)["y"].tolist() for k in variants} == {
        k: v.tolist() for k, v in expected.items()
    }
    names = [tensor.name for graph in merged.tree.subgraphs for tensor in graph.tensors]
    assert len(set(names)) == len(names)


def test_equal_weights_are_stored_once(layers):
    """Four signatures with the same weights cost little more than one."""
    one = len(fully_connected([sparse_weight((256, 64), 1.0)]).to_bytes())

    four = merge({f"level_{k}": fully_connected([sparse_weight((256, 64), 1.0)]) for k in range(4)})

    assert len(four.to_bytes()) < 1.1 * one


def test_models_with_other_ports_are_not_merged(layers):
    """All signatures of a file have the same inputs and outputs."""
    other = fully_connected(layers)
    other.tree.signatureDefs[0].outputs[0].name = b"z"

    with pytest.raises(ExportError, match="other inputs or outputs"):
        merge({"level_0": fully_connected(layers), "level_1": other})
