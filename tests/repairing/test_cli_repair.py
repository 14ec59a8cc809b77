"""`elsa-edge repair` from the outside: files, JSON, exit codes, nothing half-written; then the rest of the way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from support import learned

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.cli import cli
from elsa_edge.graph.export import export_canonical
from elsa_edge.tensors import TensorSpec

QUICK = ("--steps", "20", "--batch-size", "64", "--learning-rate", "0.03", "--augment", "none")


@pytest.fixture
def nested(cut, tmp_path):
    path = tmp_path / "cut.safetensors"
    cut.save(path)
    np.savez(tmp_path / "inputs.npz", x=learned.inputs().numpy())
    return path


def call(nested, *options):
    out = nested.with_name("out.safetensors")
    arguments = ["repair", str(nested), "--model", "support.learned:patterns", "-o", str(out), *options]
    return CliRunner().invoke(cli, arguments, catch_exceptions=False), out


def test_it_writes_a_checkpoint_that_goes_all_the_way(nested, tmp_path):
    """JSON and file tell the same; the graph that is exported from it equals torch at every level."""
    result, out = call(nested, "--data", str(tmp_path / "inputs.npz"), *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    repaired = NestedCheckpoint.load(out)

    assert [row["level"] for row in report["levels"]] == ["s75", "s50"]
    assert report["levels"][0]["repaired"] == repaired.provenance["repair"]["levels"]["s75"]["repaired"]
    assert report["levels"][0]["repaired"] > report["levels"][0]["cut"]
    assert "s50: step" not in result.stderr
    graph = export_canonical(repaired, learned.patterns(), [TensorSpec("", (1, 1, 8, 8))])
    assert len(graph.ladder) == 3


def test_data_may_come_from_a_factory(nested):
    """A factory makes the inputs; of a pair (train, test) the first part is taken."""
    result, out = call(
        nested, "--data", "support.learned:inputs", *QUICK, "--mode", "weights", "--minutes", "1"
    )
    assert result.exit_code == 0, result.stderr
    assert "agreement" in next(line for line in result.stderr.splitlines() if "s50: step" in line)
    assert out.exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--mode", "weight"], 2, "Nearest: 'weights'"),
        (["--data", "nowhere"], 1, "no inputs at nowhere"),
        (["--data", "nowhere.npz"], 1, "no data file"),
        (["--data", "support.learned:nothing"], 2, "nothing named"),
        (["--minutes", "1e-9"], 1, "before the first level"),
        (["--loss", "l1"], 2, "no loss named"),
        (["--model", "support.learned:inputs"], 2, "returned no network"),
        (["--data", "."], 2, "Add --input-shape"),
        (["-o", "cut.safetensors"], 2, "is an input of this command"),
    ],
)
def test_mistakes_have_an_exit_code_and_write_nothing(nested, monkeypatch, options, code, message):
    """Usage errors exit with 2, failed work with 1; no output file appears and the input is as it was."""
    monkeypatch.chdir(nested.parent)
    before = nested.read_bytes()
    result, out = call(nested, "--data", str(nested.parent / "inputs.npz"), *options)
    assert message in " ".join(result.stderr.split())
    assert (result.exit_code, out.exists()) == (code, False)
    assert nested.read_bytes() == before
    assert "Traceback" not in result.stderr
