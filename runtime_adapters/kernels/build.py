"""Compile the kernels: `python -m elsa_edge.runtime_adapters.kernels.build`. Needs only a C++17 compiler, no headers.

The inner loops are compiled once for each instruction set of the target and chosen when the library is loaded.
This file imports nothing but the standard library: the package's build hook runs it before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "TARGETS", "CompileError", "Target", "compile_driver", "compile_library", "ensure_library", "find_compiler",
    "main", "needed_glibc",
]  # fmt: skip

NATIVE_SOURCES = Path(__file__).with_name("native")
DRIVERS = NATIVE_SOURCES / "drivers"
LIBRARY = Path(__file__).with_name("libelsa_nested.so")
_KERNELS = "kernels.cpp"
_KERNELS8 = "kernels8.cpp"
_KERNELS16 = "kernels16.cpp"
_FLAGS = (
    "-std=c++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-Wall", "-Wextra", "-Wno-psabi",
)  # fmt: skip
_OPTIMISED = ("-O3",)
# All instruction sets must round alike in 8 bits. gcc warns of its own header's undefined vectors.
_EXACT = ("-ffp-contract=off", "-Wno-uninitialized", "-Wno-maybe-uninitialized")
# A device may have another C++ runtime than the compiler, or none: it is inside, of which only what is used. libgcc_s
# is not: every glibc comes with it, and the one inside would ask for the compiler's own glibc, as would unused C++.
_LINK = (
    "-shared", "-static-libstdc++", "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL", "-Wl,--no-undefined",
    "-Wl,-z,max-page-size=16384",
)  # fmt: skip

# How a command line of the compiler begins: the compiler, or a wrapper and the compiler.
Command = tuple[str, ...]


class CompileError(RuntimeError):
    """There is no compiler, or it refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of machine.

    Attributes:
        tables: Instruction set -> (lanes of float, compiler flags); "base" is what every such machine has.
        tables8: The same for the 8-bit loops, which have instructions of their own.
        tables16: The same for the loops over half floats.
        compilers: Commands to try, best first.
        arch: What its library's file is called after; empty for this machine's.
        flags: Flags of every file.
        without: Flags of the link that its linker does not know.
        linking: Flags of the link that only its linker needs.
    """

    tables: dict[str, tuple[int, tuple[str, ...]]]
    tables8: dict[str, tuple[int, tuple[str, ...]]]
    tables16: dict[str, tuple[int, tuple[str, ...]]]
    compilers: tuple[str, ...]
    arch: str = ""
    flags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    linking: tuple[str, ...] = ()


_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mprefer-vector-width=512")
_X86 = {
    "base": (4, ("-march=x86-64",)),
    "avx2": (8, ("-mavx2", "-mfma")),
    "avx512": (16, _AVX512),
}
_X86_8 = {
    **_X86,
    "avxvnni": (8, ("-mavx2", "-mfma", "-mavxvnni")),
    "avx512vnni": (16, (*_AVX512, "-mavx512vnni")),
}
_ARM: dict[str, tuple[int, tuple[str, ...]]] = {"base": (4, ())}
_ARM_8: dict[str, tuple[int, tuple[str, ...]]] = {**_ARM, "dotprod": (4, ("-march=armv8.2-a+dotprod",))}
_X86_16 = {"base": _X86["base"], "avx2": (8, ("-mavx2", "-mfma", "-mf16c"))}
_ARM_16: dict[str, tuple[int, tuple[str, ...]]] = {"fp16": (4, ("-march=armv8.2-a+fp16",))}
_HERE = (_X86, _X86_8, _X86_16) if platform.machine() in {"x86_64", "AMD64"} else (_ARM, _ARM_8, _ARM_16)
TARGETS = {
    "native": Target(*_HERE, ("c++", "g++", "clang++")),
    "linux-aarch64": Target(
        _ARM, _ARM_8, _ARM_16, ("aarch64-linux-gnu-g++", "aarch64-linux-gnu-clang++"), "aarch64"
    ),
    # From an NDK, which ANDROID_NDK_HOME names or whose bin is on PATH. Pages of 16 KB are the linker flag above.
    "android-arm64": Target(
        _ARM, _ARM_8, _ARM_16, ("aarch64-linux-android24-clang++", "aarch64-linux-android26-clang++"), "android-arm64"
    ),
    # Without an NDK: zig (pip install ziglang) brings a compiler and a C++ library, which is linked in, but nothing of
    # Android's. So it compiles against musl's headers, and native/bionic.cpp has what Android calls otherwise. The
    # language's thread-local variables need Android 10.
    "android-arm64-zig": Target(
        _ARM, {**_ARM, "dotprod": (4, ("-mcpu=generic+dotprod",))}, {"fp16": (4, ("-mcpu=generic+fullfp16",))},
        ("python-zig c++",), "android-arm64",
        ("-target", "aarch64-linux-musl", "-DELSA_BIONIC", "-s"), ("-Wl,--exclude-libs,ALL",),
        (f"-Wl,--version-script={NATIVE_SOURCES / 'exports.map'}",),
    ),
}  # fmt: skip


def find_compiler(target: Target) -> Command | None:
    """Return how a command line of the compiler begins: `$CXX` for this machine where set, else the first found.

    `CXX="ccache g++"` is a wrapper and its arguments: all of its words stay.

    Raises:
        CompileError: When `$CXX` names what is not there.
    """
    wished = os.environ.get("CXX", "") if target is TARGETS["native"] else ""
    if wished.strip():
        return _as_command("CXX", wished)
    for words in target.compilers:
        name, *rest = words.split()
        # A compiler that is a package lies beside the Python that has it, which need not be on the PATH.
        beside_python = str(Path(sys.executable).parent)
        if found := shutil.which(name) or shutil.which(name, path=beside_python) or _in_ndk(name):
            return (found, *rest)
    return None


def _in_ndk(name: str) -> str | None:
    """Return a compiler of the Android NDK that ANDROID_NDK_HOME names."""
    home = os.environ.get("ANDROID_NDK_HOME", "")
    found = sorted(Path(home).glob(f"toolchains/llvm/prebuilt/*/bin/{name}")) if home else []
    return str(found[0]) if found else None


def _as_command(what: str, text: str) -> Command:
    """Return the words of a command line that a person wants, the first as the path of a program that is there."""
    try:
        first, *rest = shlex.split(text)
    except ValueError as error:
        raise CompileError(f"{what} is not readable as a command: {text!r} ({error})") from error
    found = shutil.which(first)
    if found is None:
        raise CompileError(f"{what} asks for {first}, which is not there")
    return (found, *rest)


def compile_library(
    output: Path, *, target: str = "native", sanitize: str = "", compiler: str | None = None
) -> Path:
    """Compile all sources into `output` and return it; on failure the file is as it was.

    Args:
        output: The shared library to write.
        target: A name of `TARGETS`.
        sanitize: What to give to `-fsanitize=`, such as "address,undefined" or "thread".
        compiler: A compiler to use instead of the one found.

    Raises:
        CompileError: With the compiler's first complaint.
    """
    wanted = TARGETS[target]
    command = _command_of(wanted, target, compiler)
    flags, link = (
        [*_FLAGS, *_OPTIMISED, *wanted.flags],
        [flag for flag in _LINK if flag not in wanted.without],
    )
    if sanitize:
        # Sanitizer runtimes are shared and preloaded: static ones would be loaded too late into Python.
        flags += [f"-fsanitize={sanitize}", "-g", "-O1", "-fno-omit-frame-pointer"]
        link = ["-shared", f"-fsanitize={sanitize}"]
    with tempfile.TemporaryDirectory() as folder:
        objects = _compile_all(command, flags, wanted, _library_sources(), Path(folder))
        made = Path(folder, "library.so")
        _run([*command, *wanted.flags, *link, *wanted.linking, "-o", str(made), *objects])
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = output.with_name(f".{output.name}.{os.getpid()}.tmp")
        shutil.copyfile(made, beside)
        beside.replace(output)
    return output


def compile_driver(
    driver: str, folder: Path, *, compiling: Sequence[str] = _OPTIMISED, linking: Sequence[str] = (),
    compiler: str | None = None, target: str = "native",
) -> Path:  # fmt: skip
    """Compile all of the kernels and one program of native/drivers, and return the program.

    Args:
        driver: The program's file, without its suffix.
        folder: Where to put it.
        compiling: Flags of each file beside those that all have.
        linking: Flags of the link.
        compiler: A compiler to use instead of the one found.
        target: A name of `TARGETS`: the kind of machine that the program is for.

    Raises:
        CompileError: With the compiler's first complaint.
    """
    wanted = TARGETS[target]
    command = _command_of(wanted, target, compiler)
    sources = [*_library_sources(), DRIVERS / f"{driver}.cpp"]
    objects = _compile_all(command, [*_FLAGS, *wanted.flags, *compiling], wanted, sources, folder)
    program = folder / driver
    _run([*command, *linking, "-pthread", "-o", str(program), *objects])
    return program


def _command_of(wanted: Target, name: str, compiler: str | None) -> Command:
    command = _as_command("--compiler", compiler) if compiler else find_compiler(wanted)
    if not command:
        raise CompileError(f"no C++ compiler for {name} found (looked for {', '.join(wanted.compilers)})")
    return command


def _library_sources() -> list[Path]:
    """Return what is compiled once; the others are compiled for each instruction set."""
    tables = (_KERNELS, _KERNELS8, _KERNELS16)
    return [source for source in sorted(NATIVE_SOURCES.glob("*.cpp")) if source.name not in tables]


def _compile_all(
    command: Command, flags: Sequence[str], wanted: Target, sources: Sequence[Path], folder: Path
) -> list[str]:
    """Compile sources and all tables of inner loops, as many at a time as there are cores; return the objects."""
    jobs: dict[str, tuple[str, list[str]]] = {
        str(folder / f"{source.stem}.o"): (str(source), []) for source in sources
    }
    every = (
        (_KERNELS, "", wanted.tables, ()),
        (_KERNELS8, "8", wanted.tables8, _EXACT),
        (_KERNELS16, "16", wanted.tables16, ()),
    )
    for source, kind, tables, more in every:
        for name, (lanes, extra) in tables.items():
            defines = [f"-DELSA_TABLE{kind}=kernels{kind}_{name}", f'-DELSA_NAME="{name}"']
            jobs[str(folder / f"kernels{kind}_{name}.o")] = (
                str(NATIVE_SOURCES / source),
                [*extra, *defines, f"-DELSA_LANES={lanes}", *more],
            )
    lines = [[*command, *flags, *extra, "-c", source, "-o", made] for made, (source, extra) in jobs.items()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_run, lines))
    return list(jobs)


def ensure_library(target: str = "native") -> Path:
    """Return the library of a target beside this file, compiled again when a source is newer.

    Args:
        target: A name of `TARGETS`; those of other machines lie there as libelsa_nested.ARCH.so.

    Raises:
        CompileError: When there is none and it cannot be compiled.
    """
    library = _place_of(target)
    sources = [*NATIVE_SOURCES.iterdir(), Path(__file__)]
    if library.is_file() and all(source.stat().st_mtime <= library.stat().st_mtime for source in sources):
        return library
    return compile_library(library, target=target)


def _place_of(target: str) -> Path:
    """Return where the library of a target is looked for: beside this file, another machine's under its own name."""
    arch = TARGETS[target].arch
    return LIBRARY.with_suffix(f".{arch}.so") if arch else LIBRARY


def needed_glibc(library: Path) -> tuple[int, int] | None:
    """Return the oldest glibc that a library can be loaded with, such as (2, 34); None where it needs none."""
    versions = re.findall(rb"GLIBC_(\d+)\.(\d+)", library.read_bytes())
    return max(((int(major), int(minor)) for major, minor in versions), default=None)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own command line)
    if done.returncode != 0:
        lines = [
            line for line in done.stderr.splitlines() if "error" in line.lower()
        ] or done.stderr.splitlines()
        raise CompileError(lines[0] if lines else f"{command[0]} failed with status {done.returncode}")


def main(arguments: list[str] | None = None) -> int:
    """Command line: compile, print the path, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m elsa_edge.runtime_adapters.kernels.build",
        description="Compile the nested sparse kernels.",
    )
    parser.add_argument(
        "--target", choices=sorted(TARGETS), default="native", help="the kind of machine (default: this one)"
    )
    parser.add_argument("--sanitize", default="", metavar="LIST", help="address,undefined or thread")
    parser.add_argument("--compiler", help="the C++ compiler to use")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="the library to write (default: beside this file, under the target's name)",
    )
    given = parser.parse_args(arguments)
    try:
        path = compile_library(
            given.output or _place_of(given.target),
            target=given.target,
            sanitize=given.sanitize,
            compiler=given.compiler,
        )
    except CompileError as error:
        sys.stderr.write(f"The kernels were not built: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
