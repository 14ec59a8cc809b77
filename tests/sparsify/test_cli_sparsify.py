"""`elsa-edge sparsify` from the outside: files, JSON, exit codes, nothing half-written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support import nets

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.cli import cli


@pytest.fixture
def dense(tmp_path):
    path = tmp_path / "dense.pt"
    torch.save(nets.Conv().state_dict(), path)
    return path


def call(dense, tmp_path, *options: str):
    out = tmp_path / "out.safetensors"
    return CliRunner().invoke(
        cli,
        ["sparsify", str(dense), "--model", "support.nets:conv", "-o", str(out), *options],
        catch_exceptions=False,
    ), out


def test_it_writes_a_nested_checkpoint_and_one_json_object(dense, tmp_path):
    """Levels, densities and tables are in the file and in the JSON; the source is recorded."""
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(8, 1, 8, 8)), y=np.zeros(8))
    result, out = call(dense, tmp_path, "--levels", "0.9,0.5,0", "--data", str(tmp_path / "d.npz"), "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    nested = NestedCheckpoint.load(out)
    assert [level["density"] for level in report["levels"]] == list(nested.densities)
    assert "bn1.running_var" in nested.tables
    assert len(nested.provenance["source_sha256"]) == 64


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--levels", "0,0.9"], 2, "ordered from the sparsest"),
        (["--levels", "0.9,0.9"], 2, "without duplicates"),
        (["--levels", "1.0,0"], 2, "must lie in [0, 1)"),
        (["--levels", "many"], 2, "must be numbers"),
        (["--levels", "0.9", "--method", "magnitud"], 2, "Nearest: 'magnitude'"),
        (["--levels", "0.9", "--allocation", "erg"], 2, "Nearest: 'erk'"),
        (["--levels", "0.9", "--granularity", "3:2"], 2, "N must be below M"),
        (["--levels", "0.9", "--include", "nothing*"], 2, "matches no weight"),
        (["--levels", "0.999"], 2, "cannot be reached"),
        (["--levels", "0.9", "--data", "missing.npz"], 1, "no data file"),
        (["--levels", "0.9", "--model", "support.nets:wide_conv"], 1, "does not fit the model"),
    ],
)
def test_mistakes_have_an_exit_code_and_write_nothing(dense, tmp_path, options, code, message):
    """Usage errors exit with 2, failed work with 1; no output file appears."""
    result, out = call(dense, tmp_path, *options)
    assert (result.exit_code, out.exists()) == (code, False)
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
