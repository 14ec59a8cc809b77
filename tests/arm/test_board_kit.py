"""`elsa-edge benchmark --suite board --quick` on emulated boards, from the wheel alone: no torch, pip or compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.userland import missing_tools, userland
from elsa_edge.deploy.own_wheel import own_wheel
from elsa_edge.deploy.wheels import requirements

pytestmark = [pytest.mark.arm, pytest.mark.timeout(1800)]

_REPOSITORY = Path(__file__).resolve().parents[2]
_PLATFORMS_32 = ("manylinux_2_34_armv7l", "manylinux_2_31_armv7l", "manylinux2014_armv7l", "linux_armv7l")
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
    return installed(folder, platforms, f"{wheel}[ort]")


def site_of_32_bits(folder: Path) -> Path:
    """The same with the last runtime for 32-bit ARM; NumPy and PyYAML are the board's own."""
    *needs, runtime = requirements(("tflite-runtime",), ("numpy", "PyYAML"))
    platforms = [word for tag in _PLATFORMS_32 for word in ("--platform", tag)]
    installed(folder, platforms, *needs)
    place = installed(folder, platforms, "--no-deps", runtime)
    # The wheel that deployments bring is unpacked, as they do it, and leaves the kit at home.
    with zipfile.ZipFile(own_wheel(folder, None)) as archive:
        archive.extractall(place)
    shutil.copy(_REPOSITORY / "elsa_edge/board/kit.zip", place / "elsa_edge/board/kit.zip")
    return place


def installed(folder: Path, platforms: list[str], *wanted: str) -> Path:
    """Let pip of this machine put packages for a board into a folder."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:", "--python-version",
        "3.11", *platforms, "--target", str(folder / "site"), *wanted,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


def told_by(name: str, folder: Path, site_packages: Path) -> dict[str, Any]:
    """Run the suite on a board, and return the file that it writes."""
    board = userland(name, folder / "userland")
    site_packages.rename(board.root / "home/pi/site")
    script = (
        "cd /home/pi && PYTHONPATH=/home/pi/site python3 -c 'from elsa_edge.cli import main; main()' "
        "benchmark --suite board --quick -o board.json"
    )
    done = board.run("sh", "-c", script)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    told: dict[str, Any] = json.loads((board.root / "home/pi/board.json").read_text())
    return told


def test_the_board_suite_runs_end_to_end_and_says_what_is_left_out(tmp_path) -> None:
    if missing := missing_tools("arm64"):
        pytest.skip(f"needs: apt-get install {' '.join(missing)}")
    told = told_by("arm64", tmp_path, site(tmp_path))

    assert told["quick"]
    assert told["board"]["machine"] == "aarch64"
    assert told["board"]["model"].startswith("Raspberry Pi 4")
    assert {row["engine"] for row in told["rows"]} == {"ONNX Runtime", "elsa-edge"}
    assert {row["precision"] for row in told["rows"]} == {"float32", "int8"}
    assert {one["what"] for one in told["left_out"]} >= {"tflite-levels", "ncnn"}
    assert told["sustained"]["slices"]


def test_a_32_bit_system_has_the_rows_of_its_only_runtime_and_says_why_the_others_are_missing(
    tmp_path,
) -> None:
    if missing := missing_tools("armhf"):
        pytest.skip(f"needs: apt-get install {' '.join(missing)}")
    told = told_by("armhf", tmp_path, site_of_32_bits(tmp_path))

    assert told["board"]["userland_bits"] == 32
    assert {row["engine"] for row in told["rows"]} == {"LiteRT (XNNPACK)"}
    reasons = {one["what"]: one["reason"] for one in told["left_out"]}
    assert {"ort-levels", "ort-int8", "ort-nested", "nested-int8", "ncnn"} <= reasons.keys()
    assert all(reasons.values())
