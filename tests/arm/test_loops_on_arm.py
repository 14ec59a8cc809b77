"""Every inner loop on every generation of cores, without Python and without a runtime."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from elsa_edge.runtime_adapters.kernels.build import compile_driver

pytestmark = [pytest.mark.arm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def loops(tmp_path_factory) -> Path:
    """The driver, linked so that it needs nothing of the board."""
    folder = tmp_path_factory.mktemp("loops")
    return compile_driver("loops", folder, linking=["-static"], target="linux-aarch64")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("cpu", "tables"),
    [
        ("cortex-a53", "base base none 800"),
        ("cortex-a72", "base base none 800"),
        ("cortex-a76", "base dotprod fp16 1198"),
        ("max", "base dotprod fp16 1198"),
    ],
)
def test_loops_compute_what_plain_loops_do_and_read_nothing_behind(loops, cpu, tables, seed) -> None:
    emulator = shutil.which("qemu-aarch64-static")
    assert emulator is not None, "apt-get install qemu-user-static"
    done = subprocess.run(
        [emulator, "-cpu", cpu, loops, str(seed)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tables} tiles\n"
