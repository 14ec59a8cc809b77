"""Engines in processes of their own: they compute, they time themselves, and their failures are sentences."""

import sys

import numpy as np
import onnx
import pytest

from benchmarks import peers
from benchmarks.peers import Peer, PeerError, interpreter


@pytest.fixture
def doubling(tmp_path):
    """A network that doubles three numbers, and its input."""
    text = """
        <ir_version: 8, opset_import: ["" : 18]>
        doubling (float[1, 3] x) => (float[1, 3] y) { y = Add (x, x) }
    """
    model, inputs = tmp_path / "doubling.onnx", tmp_path / "input.npy"
    onnx.save(onnx.parser.parse_model(text), model)
    np.save(inputs, np.array([[1, 2, 3]], np.float32))
    return model, inputs


def test_a_peer_computes_and_measures_its_own_time(doubling):
    with Peer("onnxruntime") as peer:
        output = peer.load("net", *doubling)
        cpu_s, wall_s = peer.run("net", 50)

    assert output.tolist() == [2, 4, 6]
    assert cpu_s > 0
    assert wall_s > 0


def test_what_an_engine_refuses_is_said_and_the_process_lives_on(doubling, tmp_path):
    model, inputs = doubling
    with Peer("onnxruntime") as peer:
        with pytest.raises(PeerError, match=r"onnxruntime: .*absent\.onnx"):
            peer.load("absent", tmp_path / "absent.onnx", inputs)

        assert peer.load("net", model, inputs).tolist() == [2, 4, 6]


def test_an_engine_that_dies_is_said(doubling):
    peer = Peer("onnxruntime")
    peer.close()

    with pytest.raises(PeerError, match="onnxruntime ended with status -9"):
        peer.load("net", *doubling)


def test_an_engine_that_is_silent_is_ended(doubling):
    with Peer("onnxruntime", answer_s=0.01) as peer, pytest.raises(PeerError, match="was silent"):
        peer.load("net", *doubling)


def test_an_absent_environment_is_said_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)

    with pytest.raises(PeerError, match=r"run: python -m benchmarks\.peers install openvino"):
        interpreter("openvino")


def test_our_own_engine_runs_under_this_interpreter():
    assert str(interpreter("onnxruntime")) == sys.executable
