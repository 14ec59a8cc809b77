"""build, verify, run, profile, inspect, doctor through the command line: exit code, JSON, sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.bundles import bundle, folder, model
from support.zoo import ZOO, nested_checkpoint

from elsa_edge.bundle import open_bundle
from elsa_edge.cli import cli
from elsa_edge.plugins.registry import ADAPTERS, names

DEVICE = "generic-x86-64"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the user's cache."""
    monkeypatch.setenv("ELSA_EDGE_CACHE", str(folder() / "cache"))


def run(*arguments: object) -> dict[str, Any]:
    """Run with --json; return the object that must be all of stdout."""
    result = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def fails(*arguments: object, code: int, words: str) -> None:
    """Run and expect one or two sentences on stderr, nothing on stdout, no traceback."""
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_build_says_what_it_made(tmp_path: Path) -> None:
    """And the bundle is there."""
    found = run("build", model("two_inputs"), "--device", DEVICE, "-o", tmp_path / "b", "--name", "mine")
    assert found["variants"] == ["ort-nested", "ort-switch"]
    assert found["levels"][0]["sparsity"] == 0.6
    assert open_bundle(tmp_path / "b").manifest.name == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.onnx", "--device", DEVICE], 1, "There is no model at nowhere.onnx"),
        (["MODEL", "--device", "pi"], 2, "There is no device"),
        (["MODEL"], 2, "--device"),
        (["MODEL", "--device", DEVICE, "--variant", "x"], 2, "There is no exporter named 'x'"),
        (["MODEL", "--device", DEVICE, "--golden", "none.npz"], 1, "There is no file none.npz"),
    ],
)
def test_build_names_what_is_wrong(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """Exit code 1 for failed work, 2 for wrong usage; nothing is written."""
    given = [str(model("two_inputs")) if a == "MODEL" else a for a in arguments]
    fails("build", *given, "-o", tmp_path / "b", code=code, words=words)
    assert not (tmp_path / "b").exists()


def test_verify_tells_every_level_and_fails_on_a_changed_file(tmp_path: Path) -> None:
    """Exit code 0 or 1."""
    found = run("verify", bundle("two_inputs"))
    assert found["ok"] is True
    assert found["variants"][2]["levels"][0]["max_difference"] <= 1e-4
    shutil.copytree(bundle("two_inputs"), tmp_path / "b")
    (tmp_path / "b" / "ort-switch" / "model.onnx").write_bytes(b"changed")
    fails("verify", tmp_path / "b", code=1, words="ort-switch/model.onnx has changed")
    fails("verify", tmp_path / "nowhere", code=1, words="There is no bundle")


def test_run_once_with_own_inputs_and_written_outputs(tmp_path: Path) -> None:
    """The outputs are the golden ones when the inputs are; odd file contents are refused."""
    opened = open_bundle(bundle("two_inputs"))
    np.savez(tmp_path / "in.npz", **opened.golden.inputs)
    found = run("run", bundle("two_inputs"), "--input", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert found["runs"] == 2
    assert found["decision"]["feasible"] is True
    with np.load(tmp_path / "out.npz") as arrays:
        assert set(arrays.files) == {"logits", "features"}
        np.testing.assert_allclose(arrays["logits"], opened.golden.outputs[0]["logits"], atol=1e-4)
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name, words in (("one.npy", "one array without a name"), ("none.npz", "There is no file")):
        fails("run", bundle("two_inputs"), "--input", tmp_path / name, code=1, words=words)
    np.savez(tmp_path / "bad.npz", x=np.zeros((1, 6, 20), np.float32))
    fails("run", bundle("two_inputs"), "--input", tmp_path / "bad.npz", code=1, words="other names")


def test_run_writes_over_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    """Its inputs, a checkpoint, a source file, a file of a bundle: refused without --force, and untouched."""
    here = shutil.copytree(bundle("mlp"), tmp_path / "b")
    inputs = {name: array[:1] for name, array in open_bundle(here).golden.inputs.items()}
    np.savez(tmp_path / "x.npz", **inputs)
    (tmp_path / "net.pt").write_bytes(b"trained for a week")
    (tmp_path / "net.py").write_text("written by hand")
    for name in ("x.npz", "net.pt", "net.py", "b/golden.npz"):
        before = (tmp_path / name).read_bytes()
        fails(
            "run",
            here,
            "--level",
            0,
            "--input",
            tmp_path / "x.npz",
            "-o",
            tmp_path / name,
            code=2,
            words="--force",
        )
        assert (tmp_path / name).read_bytes() == before


def test_run_for_a_while_and_at_a_level() -> None:
    """Runs are counted by level; a level that is not there is wrong usage."""
    found = run("run", bundle("conv"), "--device", DEVICE, "--seconds", "0.2", "--level", "1")
    assert found["runs"] > 1
    assert [row["level"] for row in found["levels"]] == [1]
    fails("run", bundle("conv"), "--level", "7", code=2, words="no such level")


def test_a_recorded_run_is_a_trace_to_simulate(tmp_path: Path) -> None:
    """`--record` closes the loop with `simulate --trace`; `--log` tells each decision; neither overwrites."""
    trace, log = tmp_path / "t.csv", tmp_path / "log.jsonl"
    found = run(
        "run", bundle("conv"), "--device", DEVICE, "--seconds", "0.2", "--record", trace, "--log", log
    )

    replayed = run("simulate", "--device", DEVICE, "--levels-ms", "1,2,3", "--trace", trace)
    decisions = [json.loads(line)["decision"]["level"] for line in log.read_text().splitlines()]

    assert replayed["controller"]["runs"] == len(decisions) == found["runs"]
    assert decisions[-1] == found["decision"]["level"]
    fails("run", bundle("conv"), "--record", trace, code=1, words="exists already")


def test_profile_writes_a_profile_that_run_takes(tmp_path: Path) -> None:
    """The keys are those of the quickstart's report."""
    found = run(
        "profile", bundle("two_inputs"), "--device", DEVICE, "-o", tmp_path / "d.yaml", "--seconds", "0"
    )
    (level,) = found["levels"]
    assert {
        "level",
        "sparsity",
        "density",
        "flops_fraction",
        "accuracy",
        "p50_ms",
        "p95_ms",
        "memory_bytes",
    } <= set(level)
    assert level["p95_ms"] >= level["p50_ms"] > 0
    assert run("run", bundle("two_inputs"), "--device", tmp_path / "d.yaml")["runs"] == 1


def test_inspect_reads_all_three_kinds(tmp_path: Path) -> None:
    """Checkpoint, canonical graph, bundle: levels, and the density of each layer."""
    checkpoint, _ = nested_checkpoint(ZOO["mlp"])
    checkpoint.save(tmp_path / "c.safetensors")
    one = run("inspect", tmp_path / "c.safetensors")
    two = run("inspect", model("mlp"))
    three = run("inspect", bundle("mlp"))
    assert [one["kind"], two["kind"], three["kind"]] == ["nested checkpoint", "canonical graph", "bundle"]
    assert len(one["levels"]) == len(two["levels"]) == len(three["levels"]) == 7
    assert one["layers"][0]["densities"][-1] == 1.0
    assert {layer["name"]: layer["densities"] for layer in one["layers"]} == {
        layer["name"]: layer["densities"] for layer in two["layers"]
    }
    assert {layer["name"] for layer in three["layers"]} == {layer["name"] for layer in two["layers"]}
    assert {variant["precision"] for variant in three["variants"]} == {"float32"}
    told = CliRunner().invoke(cli, ["inspect", str(bundle("mlp"))]).stdout
    assert all(
        title in told for title in ("Nested weights", "Options of the variants", "Versions", "Provenance")
    )
    (tmp_path / "x.txt").write_text("?")
    for path, words in ((tmp_path / "x.txt", "unknown kind"), (tmp_path / "none", "nothing at")):
        fails("inspect", path, code=1, words=words)
    (tmp_path / "c.onnx").write_bytes(b"not onnx")
    fails("inspect", tmp_path / "c.onnx", code=1, words="is not an ONNX model")


def test_doctor_is_well_here() -> None:
    """On a machine where the tests run there is no problem."""
    found = run("doctor")
    assert found["ok"] is True
    assert any(finding["what"] == "onnxruntime" for finding in found["findings"])


def test_the_adapters_are_registered() -> None:
    """Without its entry point an adapter does not exist."""
    assert "onnxruntime" in names(ADAPTERS)
