"""Processes of our own start from what is installed, never from where they happen to be started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from elsa_edge.running.children import run_child

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("planted", ["json.py", "runtime_adapters/__init__.py", "numpy.py"])
def test_nothing_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    """A folder that was unpacked from somewhere is data."""
    trap = tmp_path / planted
    trap.parent.mkdir(exist_ok=True)
    trap.write_text("raise SystemExit('planted code ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    done = run_child("elsa_edge.runtime_adapters.ort.optimise", [], 60)
    assert "planted" not in done.stderr
    assert "IndexError" in done.stderr  # it came as far as its own arguments


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    """The switch is in the environment as soon as elsa_edge is; a value of the user's own stays."""
    code = "import elsa_edge, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, found in ((None, "1"), ("0", "0")):
        environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        if given is not None:
            environment["ORT_DISABLE_TELEMETRY"] = given
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == found
