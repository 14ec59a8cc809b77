"""`elsa-edge benchmark --suite board --quick` on an emulated Pi, from the wheel alone: no torch, pip or compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.userland import missing_tools, userland

pytestmark = [pytest.mark.arm, pytest.mark.timeout(1800)]

_REPOSITORY = Path(__file__).resolve().parents[2]
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64", "linux_aarch64")


def site(folder: Path) -> Path:
    """What pip would install on the board from our wheel with ONNX Runtime: the files, got for it here."""
    from elsa_edge.runtime_adapters.kernels.build import TARGETS, find_compiler

    if find_compiler(TARGETS["linux-aarch64"]) is None:
        pytest.skip("needs: apt-get install g++-aarch64-linux-gnu")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder / "dist"), "-t", "wheel"]
    variables = {**os.environ, "ELSA_EDGE_WHEEL_FOR": "linux-aarch64"}
    subprocess.run(command, check=True, cwd=_REPOSITORY, env=variables, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    tags = ["manylinux_2_" + wheel.name.split("manylinux_2_")[1].removesuffix(".whl"), *_PLATFORMS]
    platforms = [word for tag in tags for word in ("--platform", tag)]
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:", "--python-version",
        "3.11", *platforms, "--target", str(folder / "site"), f"{wheel}[ort]",
    ]  # fmt: skip
    subprocess.run(install, check=True, capture_output=True)
    return folder / "site"


def test_the_board_suite_runs_end_to_end_and_says_what_is_left_out(tmp_path) -> None:
    if missing := missing_tools("arm64"):
        pytest.skip(f"needs: apt-get install {' '.join(missing)}")
    board = userland("arm64", tmp_path / "userland")
    site(tmp_path).rename(board.root / "home/pi/site")
    script = (
        "cd /home/pi && PYTHONPATH=/home/pi/site python3 -c 'from elsa_edge.cli import main; main()' "
        "benchmark --suite board --quick -o board.json"
    )
    done = board.run("sh", "-c", script)

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    told = json.loads((board.root / "home/pi/board.json").read_text())
    assert told["quick"]
    assert told["board"]["machine"] == "aarch64"
    assert told["board"]["model"].startswith("Raspberry Pi 4")
    assert {row["engine"] for row in told["rows"]} == {"ONNX Runtime", "elsa-edge"}
    assert {row["precision"] for row in told["rows"]} >= {"float32"}
    assert {one["what"] for one in told["left_out"]} >= {"tflite-levels", "ncnn"}
    assert told["sustained"]["slices"]
