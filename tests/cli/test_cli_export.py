"""`elsa-edge export`: the verb, its JSON, and bad input that leaves nothing behind."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
from click.testing import CliRunner
from support.zoo import ZOO, nested_checkpoint

from elsa_edge.cli import cli
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.check import check_contract


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with a nested checkpoint and a module with factories."""
    checkpoint, _ = nested_checkpoint(ZOO["mlp"])
    checkpoint.save(tmp_path / "nested.safetensors")
    (tmp_path / "user_nets.py").write_text(
        textwrap.dedent(
            """
            import torch
            from support.zoo import ConvNet, Mlp

            class Odd(Mlp):
                def forward(self, x):
                    return torch.linalg.svdvals(super().forward(x).unsqueeze(1))
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("user_nets", None)


def export(*arguments):
    return CliRunner().invoke(cli, ["export", "nested.safetensors", "-o", "model.onnx", *arguments])


def test_json_and_file(folder):
    """One JSON object on stdout; the file is a canonical graph that says where it came from."""
    result = export("--model", "user_nets:Mlp", "--input-shape", "x=1x24", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert [level["level"] for level in answer["levels"]] == list(range(7))
    assert answer["levels"][0]["density"] == pytest.approx(0.05, abs=0.001)
    assert answer["inputs"] == {"x": "x: ?x24 float32"}
    graph = check_contract(CanonicalGraph.load(folder / "model.onnx"))
    assert graph.provenance["model"] == "user_nets:Mlp"
    assert graph.provenance["checkpoint"] == "nested.safetensors"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "problem"),
    [
        (("--model", "user_nets:Mlp", "--input-shape", "1xx"), 2, "input shape is not readable"),
        (("--model", "user_nets:Mpl", "--input-shape", "1x24"), 2, "Nearest: 'Mlp'"),
        (("--model", "user_nets:ConvNet", "--input-shape", "1x24"), 1, "does not fit the model"),
        (("--model", "user_nets:Mlp", "--input-shape", "1x23"), 1, "cannot be called with these inputs"),
        (("--model", "user_nets:Odd", "--input-shape", "1x24"), 1, "has no ONNX form"),
        (("--model", "user_nets:Mlp"), 2, "Missing option '--input-shape'"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(folder, arguments, exit_code, problem):
    """Exit code, text, no traceback, no half-written file."""
    before = sorted(path.name for path in folder.iterdir())
    result = export(*arguments)
    assert result.exit_code == exit_code
    assert problem in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == before


def test_a_damaged_checkpoint(folder):
    """A truncated file is refused before torch is asked for anything."""
    path = folder / "nested.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    result = export("--model", "user_nets:Mlp", "--input-shape", "1x24")
    assert result.exit_code == 1
    assert "cannot be read as a safetensors file" in result.stderr


def test_the_batch_and_outputs_are_chosen_by_options(folder):
    """What is free, what was kept and what follows stand in the JSON."""
    shape = ("--model", "user_nets:Mlp", "--input-shape", "x=1x24")
    result = export(*shape, "--batch", "2", "--outputs", "nothing")
    assert result.exit_code == 2
    assert "There is no output or module named 'nothing'" in result.stderr
    for option in ("--data", "--inputs"):
        result = export(*shape, option, str(folder / "none.npz"))
        assert (result.exit_code, "none.npz" in result.stderr) == (1, True)
    result = export(*shape, "--batch", "2", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["batch"] == 2
    assert answer["inputs"] == {"x": "x: 2x24 float32"}
    assert "exactly 2" in answer["notes"][0]


@pytest.mark.parametrize("text", ["S", "S=", "S=1,x", "S=0"])
def test_a_size_that_is_not_readable(folder, text):
    """The form is shown."""
    result = export("--model", "user_nets:Mlp", "--input-shape", "x=1xS", "--size", text)
    assert result.exit_code == 2
    assert "NAME=N,N" in result.stderr
