"""The C++ itself: headers and drivers compile, and what a kernel throws on a thread of the runtime becomes an error."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from elsa_edge.runtime_adapters.kernels.build import DRIVERS, NATIVE_SOURCES, TARGETS, find_compiler

FLAGS = ["-std=c++17", "-Wall", "-Wextra", "-Wno-psabi", "-DELSA_LANES=4"]


def compiler() -> list[str]:
    found = find_compiler(TARGETS["native"])
    assert found is not None
    return list(found)


@pytest.mark.parametrize("driver", sorted(path.stem for path in DRIVERS.glob("*.cpp")))
def test_a_driver_is_still_accepted_by_the_compiler(driver: str) -> None:
    """They are no part of the library, so nothing else would notice that a kernel's interface has changed."""
    command = [*compiler(), *FLAGS, "-fsyntax-only", str(DRIVERS / f"{driver}.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_header_compiles_by_itself(tmp_path: Path) -> None:
    """A header includes what it uses: whoever includes it need not know."""
    lines = []
    for header in sorted([*NATIVE_SOURCES.glob("*.h"), *DRIVERS.glob("*.h")]):
        (tmp_path / f"{header.stem}.cpp").write_text(f'#include "{header}"\n')
        lines.append(str(tmp_path / f"{header.stem}.cpp"))
    # What loops are made for is unused where only their header is compiled.
    command = [*compiler(), *FLAGS, "-Wno-unused-function", "-fsyntax-only", *lines]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) > 15


def test_what_a_task_throws_becomes_the_error_of_its_call(tmp_path: Path) -> None:
    """Between a task and its operator lies the runtime's C, which no exception may cross; the next call works."""
    program = tmp_path / "throws"
    source = str(DRIVERS / "throws.cpp")
    subprocess.run([*compiler(), *FLAGS, "-pthread", source, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
