"""The old runtime, tflite-runtime, in an environment of its own: it needs numpy 1, which nothing else here uses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.tflite_variants import golden_for, write_variant_folder

from elsa_edge.bundle.golden import Golden
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.exporters.tflite.int8 import TfliteInt8Exporter
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.exporters.tflite.sparse import TfliteSparseExporter
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.tensors import TensorSpec
from examples.cnn import tiny

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = REPOSITORY / ".venvs" / "tflite-runtime"
PACKAGES = ("tflite-runtime==2.14.0", "numpy<2", "pydantic>=2.7", "PyYAML>=6.0")


@pytest.fixture(scope="session")
def old_python() -> Path:
    """Return the Python of the environment, made once."""
    python = ENVIRONMENT / "bin" / "python"
    complete = ENVIRONMENT / "complete"
    if not complete.is_file() or complete.read_text() != " ".join(PACKAGES):
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        base = sys.executable if sys.version_info < (3, 12) else shutil.which("python3.11")
        subprocess.run([str(base), "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stderr=subprocess.DEVNULL
        )
        complete.write_text(" ".join(PACKAGES))
    return python


def _check(python: Path, folder: Path) -> dict:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    script = REPOSITORY / "tests" / "support" / "check_variants.py"
    done = subprocess.run(
        [python, script, folder], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_variant_computes_the_same_on_the_old_runtime(canonical, tmp_path, old_python):
    """Signatures, files, sparse weights and int8, at every level, within the tolerance of the manifest."""
    conv, mlp = canonical("conv"), canonical("mlp")
    known = golden_for(mlp, batch=32)
    write_variant_folder(
        tmp_path / "levels", TfliteLevelsExporter(), conv, golden_for(conv), packaging="signatures"
    )
    write_variant_folder(
        tmp_path / "sparse", TfliteSparseExporter(), mlp, known, packaging="files", sparse_for_size=True
    )
    write_variant_folder(
        tmp_path / "int8", TfliteInt8Exporter(), mlp, known, packaging="signatures", int8_changed_answers=0.2
    )

    report = _check(old_python, tmp_path)

    assert report["context"]["package"] == "tflite-runtime"
    assert report["context"]["numpy"].startswith("1.")
    for name, row in report["variants"].items():
        assert max(row["differences"]) <= row["tolerance"], name


def test_int8_keeps_the_accuracy_of_a_trained_network_in_both_runtimes(tmp_path, old_python):
    """At every level int8 loses less than one point of accuracy on 500 test images, and both runtimes agree."""
    data = REPOSITORY / "tests" / "data"
    images = np.load(data / "fashion_test.npz")
    x = ((images["images"].reshape(-1, 1, 28, 28) / 255 - 0.2860) / 0.3530).astype(np.float32)
    graph = export_canonical(
        NestedCheckpoint.load(data / "fashion.safetensors"), tiny(), [TensorSpec("", (1, 1, 28, 28))]
    )
    known = Golden({"images": x}, run_canonical(graph, {"images": x}))
    np.savez(tmp_path / "calibration.npz", images=x[:64])
    settings = {"packaging": "signatures", "calibration": str(tmp_path / "calibration.npz")}
    write_variant_folder(
        tmp_path / "all" / "int8", TfliteInt8Exporter(), graph, known, int8_changed_answers=0.05, **settings
    )
    np.save(tmp_path / "all" / "int8" / "labels.npy", images["labels"])
    floats = [np.mean(next(iter(out.values())).argmax(1) == images["labels"]) for out in known.outputs]

    new, old = (_check(python, tmp_path / "all") for python in (Path(sys.executable), old_python))

    assert (new["context"]["package"], old["context"]["package"]) == ("ai-edge-litert", "tflite-runtime")
    for report in (new, old):
        small = report["variants"]["int8"]["accuracies"]
        assert all(a - b < 0.01 for a, b in zip(floats, small, strict=True)), (floats, small)
    pairs = zip(new["variants"]["int8"]["accuracies"], old["variants"]["int8"]["accuracies"], strict=True)
    assert all(abs(a - b) <= 0.005 for a, b in pairs)
