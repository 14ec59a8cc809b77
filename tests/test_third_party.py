"""A package outside the repository brings an exporter and an adapter; installing it is all that it takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.bundle import open_bundle
from elsa_edge.errors import UnknownNameError
from elsa_edge.graph.export import export_canonical
from elsa_edge.plugins.installed import find_exporter
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

SOURCE = Path(__file__).parent / "data" / "their_plugins"


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with the package installed in `site`, a profile that names the exporter, and two networks."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(SOURCE, folder / "source")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, "--target", folder / "site", folder / "source"], check=True, capture_output=True)
    torch.manual_seed(0)
    for name, activation in (("chain", nn.ReLU()), ("other", nn.Tanh())):
        network = nn.Sequential(nn.Linear(6, 16), activation, nn.Linear(16, 4))
        graph = export_canonical(sparsify(network, (0.8, 0.0)), network, [TensorSpec("", (1, 6))])
        graph.save(folder / f"{name}.onnx")
    (folder / "profile.yaml").write_text(
        "name: theirs\nhardware: {arch: x86-64, cores: 1, memory_mb: 1024}\n"
        "runtime: {name: their-numpy}\nvariants: [their-rows]\n"
    )
    return folder


def elsa_edge(work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with the package on the path."""
    environment = os.environ | {"PYTHONPATH": str(work / "site")}
    command = [sys.executable, "-c", "from elsa_edge.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)


def test_build_verify_and_run_find_it(work: Path) -> None:
    """The bundle is proved at every level through their adapter, and runs through the session."""
    built = elsa_edge(work, "build", "chain.onnx", "--device", "profile.yaml", "-o", "bundle", "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["variants"] == ["their-rows"]
    verified = elsa_edge(work, "verify", "bundle", "--json")
    assert verified.returncode == 0, verified.stderr
    assert [len(variant["levels"]) for variant in json.loads(verified.stdout)["variants"]] == [2]
    manifest = open_bundle(work / "bundle").manifest
    assert manifest.variant("their-rows").instructions.kind == "other:their-rows"
    np.savez(work / "x.npz", **open_bundle(work / "bundle").golden.inputs)
    ran = elsa_edge(work, "run", "bundle", "--input", "x.npz", "--seconds", "0", "--json")
    assert ran.returncode == 0, ran.stderr


def test_why_it_does_not_apply_is_said(work: Path) -> None:
    """Their own reason reaches the person who builds."""
    built = elsa_edge(work, "build", "other.onnx", "--device", "profile.yaml", "-o", "no")
    assert built.returncode == 1
    assert "their-numpy cannot compute Tanh" in " ".join(built.stderr.split())
    assert not (work / "no").exists()


def test_without_it_nobody_knows_the_name() -> None:
    """Nothing in the repository names the package."""
    with pytest.raises(UnknownNameError, match="their-rows"):
        find_exporter("their-rows")
