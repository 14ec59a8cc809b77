"""Compile the kernels: `python -m elsa_edge.runtime_adapters.kernels.build`. Needs only a C++17 compiler, no headers.

The inner loops are compiled once for each instruction set of the target and chosen when the library is loaded.
This file imports nothing but the standard library: the package's build hook runs it before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TARGETS", "CompileError", "Target", "compile_library", "ensure_library", "find_compiler", "main"]

NATIVE_SOURCES = Path(__file__).with_name("native")
LIBRARY = Path(__file__).with_name("libelsa_nested.so")
_FLAGS = [
    "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-fno-math-errno",
    "-fno-trapping-math", "-Wall", "-Wextra", "-Wno-psabi",
]  # fmt: skip
# -static-libgcc and -static-libstdc++: a device may have another C++ runtime, or none.
_LINK = ["-shared", "-static-libgcc", "-static-libstdc++", "-Wl,--no-undefined", "-Wl,-z,max-page-size=16384"]


class CompileError(RuntimeError):
    """There is no compiler, or it refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of machine.

    Attributes:
        tables: Instruction set -> (lanes of float, compiler flags); "base" is what every such machine has.
        compilers: Commands to try, best first.
        flags: Flags of every file.
    """

    tables: dict[str, tuple[int, tuple[str, ...]]]
    compilers: tuple[str, ...]
    flags: tuple[str, ...] = ()


_X86 = {
    "base": (4, ("-march=x86-64",)),
    "avx2": (8, ("-mavx2", "-mfma")),
    "avx512": (
        16,
        ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mprefer-vector-width=512"),
    ),
}
_OTHER: dict[str, tuple[int, tuple[str, ...]]] = {"base": (4, ())}
_HERE = _X86 if platform.machine() in {"x86_64", "AMD64"} else _OTHER
TARGETS = {
    "native": Target(_HERE, ("c++", "g++", "clang++")),
    "linux-aarch64": Target(_OTHER, ("aarch64-linux-gnu-g++", "aarch64-linux-gnu-clang++")),
    # From an NDK: toolchains/llvm/prebuilt/HOST/bin must be on PATH. Pages of 16 KB are the linker flag above.
    "android-arm64": Target(_OTHER, ("aarch64-linux-android24-clang++", "aarch64-linux-android26-clang++")),
}


def find_compiler(target: Target) -> str | None:
    """Return the compiler to use: `$CXX` for this machine where set, else the first found."""
    wished = os.environ.get("CXX", "") if target is TARGETS["native"] else ""
    return next(
        (found for name in (wished, *target.compilers) if name and (found := shutil.which(name.split()[0]))),
        None,
    )


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
    command = compiler or find_compiler(wanted)
    if command is None:
        raise CompileError(f"no C++ compiler for {target} found (looked for {', '.join(wanted.compilers)})")
    flags = [*_FLAGS, *wanted.flags]
    link = list(_LINK)
    if sanitize:
        # Sanitizer runtimes are shared and preloaded: static ones would be loaded too late into Python.
        flags += [f"-fsanitize={sanitize}", "-g", "-O1", "-fno-omit-frame-pointer"]
        link = ["-shared", f"-fsanitize={sanitize}"]
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            [command, *flags, "-c", str(source), "-o", str(Path(folder, source.stem + ".o"))]
            for source in sorted(NATIVE_SOURCES.glob("*.cpp"))
            if source.stem != "kernels"
        ]
        for name, (lanes, extra) in wanted.tables.items():
            defines = [f"-DELSA_TABLE=kernels_{name}", f'-DELSA_NAME="{name}"', f"-DELSA_LANES={lanes}"]
            kernels = str(NATIVE_SOURCES / "kernels.cpp")
            jobs.append(
                [
                    command,
                    *flags,
                    *extra,
                    *defines,
                    "-c",
                    kernels,
                    "-o",
                    str(Path(folder, f"kernels_{name}.o")),
                ]
            )
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, jobs))
        made = Path(folder, "library.so")
        _run([command, *link, "-o", str(made), *[job[-1] for job in jobs]])
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = output.with_name(f".{output.name}.{os.getpid()}.tmp")
        shutil.copyfile(made, beside)
        beside.replace(output)
    return output


def ensure_library() -> Path:
    """Return this machine's library beside this file, compiled again when a source is newer.

    Raises:
        CompileError: When there is none and it cannot be compiled.
    """
    sources = [*NATIVE_SOURCES.iterdir(), Path(__file__)]
    if LIBRARY.is_file() and all(source.stat().st_mtime <= LIBRARY.stat().st_mtime for source in sources):
        return LIBRARY
    return compile_library(LIBRARY)


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
    parser.add_argument("-o", "--output", type=Path, default=LIBRARY, help="where to write the library")
    given = parser.parse_args(arguments)
    try:
        path = compile_library(
            given.output, target=given.target, sanitize=given.sanitize, compiler=given.compiler
        )
    except CompileError as error:
        sys.stderr.write(f"The kernels were not built: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
