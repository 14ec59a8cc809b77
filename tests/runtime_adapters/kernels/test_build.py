"""The library is built from sources alone, depends on nothing unusual, and a failure leaves the old one alone."""

from __future__ import annotations

import ctypes
import shlex
import shutil
import subprocess
import sys

import pytest

from elsa_edge.nested_format.library import LIBRARY_VARIABLE, library_path
from elsa_edge.runtime_adapters.kernels.build import (
    TARGETS,
    CompileError,
    compile_library,
    find_compiler,
    needed_glibc,
)


def test_the_library_says_which_instruction_set_it_uses(library):
    """One of the tables that were compiled; a wish for a lower one is granted."""
    code = (
        "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1]); lib.elsa_kernels_isa.restype = ctypes.c_char_p;"
        "print(lib.elsa_kernels_isa().decode())"
    )
    chosen = subprocess.run(
        [sys.executable, "-c", code, str(library)], capture_output=True, text=True, check=True
    )
    wished = subprocess.run(
        [sys.executable, "-c", code, str(library)],
        capture_output=True,
        text=True,
        check=True,
        env={"ELSA_KERNELS_ISA": "base"},
    )

    assert chosen.stdout.strip() in {"avx512", "avx2", "base"}
    assert wished.stdout.strip() == "base"


def test_only_the_door_is_open(library):
    """What ONNX Runtime looks up is exported; the rest is hidden."""
    opened = ctypes.CDLL(str(library))

    assert hasattr(opened, "RegisterCustomOps")
    assert not hasattr(opened, "_ZN4elsa7kernelsEv")


def test_older_c_libraries_can_load_it(library):
    """Those of Debian 10, Ubuntu 18.04 and newer, as ONNX Runtime's wheels: see glibc.cpp and the linker."""
    assert (needed_glibc(library) or (2, 0)) <= (2, 27)


def test_a_compiler_that_fails_leaves_the_library_as_it_was(tmp_path):
    """The first complaint is the message; nothing half-written remains."""
    target = tmp_path / "lib.so"
    target.write_bytes(b"old")
    with pytest.raises(CompileError, match="failed with status 1"):
        compile_library(target, compiler="false")

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_without_a_compiler_is_named(tmp_path, monkeypatch):
    """The sentence lists what was looked for."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CompileError, match="no C\\+\\+ compiler for android-arm64 found"):
        compile_library(tmp_path / "lib.so", target="android-arm64")


@pytest.mark.parametrize("wish", ["env g++", "'env' \"g++\"", "env"])
def test_a_wrapper_keeps_the_compiler_behind_it(monkeypatch, wish):
    """`CXX="ccache g++"` is two words of a command line, of which only the first is looked for."""
    monkeypatch.setenv("CXX", wish)
    found = find_compiler(TARGETS["native"])

    assert found is not None
    assert found == (shutil.which("env"), *shlex.split(wish)[1:])


def test_a_wish_that_cannot_be_met_is_told(monkeypatch, tmp_path):
    """Another compiler than the wished one would be a surprise; a cross compiler does not take this machine's."""
    for wish, words in (
        ("no-such-wrapper g++", "asks for no-such-wrapper, which is not there"),
        ("g++ 'x", "not readable"),
    ):
        monkeypatch.setenv("CXX", wish)
        with pytest.raises(CompileError, match=words):
            find_compiler(TARGETS["native"])
    with pytest.raises(CompileError, match="--compiler asks for no-such-compiler"):
        compile_library(tmp_path / "x.so", compiler="no-such-compiler")
    monkeypatch.setenv("CXX", "env g++")
    assert (find_compiler(TARGETS["android-arm64"]) or ("none",))[0] != shutil.which("env")


def test_another_library_can_be_named(tmp_path, monkeypatch):
    """The variable wins; a file that is not there counts as no library."""
    monkeypatch.setenv(LIBRARY_VARIABLE, str(tmp_path / "other.so"))
    assert library_path() is None
    (tmp_path / "other.so").write_bytes(b"")
    assert library_path() == tmp_path / "other.so"
