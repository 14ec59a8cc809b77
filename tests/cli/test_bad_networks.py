"""Networks that cannot become levels: a sentence and a status, and the folder as it was."""

from __future__ import annotations

import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper
from support import nets

from elsa_edge.cli import cli

MODEL = ("--model", "support.nets:Conv")


def two_candidates(path):
    torch.manual_seed(0)
    torch.save({"student": nets.Conv().state_dict(), "teacher": nets.Conv().state_dict()}, path)


def another_width(path):
    torch.save(nets.Conv(12).state_dict(), path)


def _onnx(path, node, *, domain="", output=None):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["c"]), node],
        "given",
        [value("x", TensorProto.FLOAT, [None, 4])],
        [output or value("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [0.5] * 16)],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnx.save(made, path) if path is not None else made


def custom_operators(path):
    _onnx(path, helper.make_node("Fast", ["c"], ["y"], domain="acme"), domain="acme")


def training_nodes(path):
    made = _onnx(None, helper.make_node("Relu", ["c"], ["y"]))
    made.training_info.add()
    onnx.save(made, path)


def sequence_outputs(path):
    node = helper.make_node("SplitToSequence", ["c"], ["y"], axis=1)
    _onnx(path, node, output=helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None))


CASES = {
    "two candidates": ("given.pt", two_candidates, MODEL, "'student', 'teacher'. Say which: --weights"),
    "another width": ("given.pt", another_width, MODEL, "of another shape: conv1.weight is (12, 1, 3, 3)"),
    "custom operators": ("given.onnx", custom_operators, (), "acme::Fast"),
    "training nodes": ("given.onnx", training_nodes, (), "training graph. Export the network for inference"),
    "sequence outputs": ("given.onnx", sequence_outputs, (), "y of given.onnx is no tensor"),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_written_and_the_way_out_is_said(case, tmp_path, monkeypatch):
    """By `sparsify`; the input stays as it was."""
    name, write, options, words = CASES[case]
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    kind = ".onnx" if name.endswith(".onnx") else ".safetensors"
    done = CliRunner().invoke(cli, ["sparsify", name, *options, "--levels", "0.5,0", "-o", f"levels{kind}"])
    assert done.exit_code == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before
