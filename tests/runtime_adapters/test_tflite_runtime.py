"""The old runtime, tflite-runtime, in an environment of its own: it needs numpy 1, which nothing else here uses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.tflite_variants import golden_for, write_variant_folder

from exporters.tflite_int8 import TfliteInt8Exporter
from exporters.tflite_levels import TfliteLevelsExporter
from exporters.tflite_sparse import TfliteSparseExporter

REPOSITORY = Path(__file__).resolve().parents[2]
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
