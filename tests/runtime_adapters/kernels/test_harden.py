"""The drivers of the sanitizers and the fuzzer fit the kernels as they are; `harden` says what they find."""

import subprocess

import pytest

from elsa_edge.runtime_adapters.kernels.build import NATIVE_SOURCES, TARGETS, find_compiler


@pytest.mark.parametrize("driver", ["race", "fuzz"])
def test_a_driver_is_still_accepted_by_the_compiler(driver):
    """They are no part of the library, so nothing else would notice that a kernel's interface has changed."""
    source = NATIVE_SOURCES / "drivers" / f"{driver}.cpp"
    command = [find_compiler(TARGETS["native"]) or "c++", "-std=c++17", "-Wall", "-Wextra", "-Wno-psabi"]
    done = subprocess.run(
        [*command, "-fsyntax-only", str(source)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
