"""Wheels made here for boards: kernels that a cross compiler made, so that a board needs none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.arm, pytest.mark.timeout(1200)]
REPOSITORY = Path(__file__).resolve().parents[2]
MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7}  # as ELF files say them


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="no g++-aarch64-linux-gnu here")
@pytest.mark.parametrize(
    ("target", "machine", "libraries"),
    [
        ("linux-aarch64", "aarch64", {"libelsa_nested.so": "aarch64"}),
        (None, os.uname().machine, {"libelsa_nested.so": "x86_64", "libelsa_nested.aarch64.so": "aarch64"}),
    ],
)
def test_a_wheel_carries_the_kernels_of_boards(tmp_path, target, machine, libraries) -> None:
    """Its own, or beside those of this machine; its tag is that of the C library which the kernels need."""
    environment = {key: value for key, value in os.environ.items() if key != "ELSA_EDGE_WHEEL_FOR"}
    if target is not None:
        environment["ELSA_EDGE_WHEEL_FOR"] = target
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, env=environment)
    (wheel,) = tmp_path.glob("*.whl")

    tag = re.fullmatch(r"manylinux_2_(\d+)_(\w+)\.whl", wheel.name.split("-")[-1])
    assert tag is not None
    assert int(tag[1]) <= 27
    assert tag[2] == machine
    with zipfile.ZipFile(wheel) as archive:
        found = {Path(name).name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    assert {name: int.from_bytes(data[18:20], "little") for name, data in found.items()} == {
        name: MACHINES[kind] for name, kind in libraries.items()
    }
