"""Run the kernels under sanitizers and a fuzzer: `python -m runtime_adapters.kernels.harden asan|fuzz`.

asan    AddressSanitizer and UndefinedBehaviorSanitizer under the kernels' own tests (gcc or clang)
tsan    ThreadSanitizer under the tests that use two threads
fuzz    libFuzzer over the bytes of segments, seeded with valid ones (clang)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from runtime_adapters.kernels import LIBRARY_VARIABLE
from runtime_adapters.kernels.build import (
    NATIVE_SOURCES,
    TARGETS,
    CompileError,
    compile_library,
    find_compiler,
)

__all__ = ["main"]

_TESTS = Path(__file__).parents[2] / "tests" / "runtime_adapters" / "kernels"
# Memory that Python and ONNX Runtime keep until they exit is not ours to report.
_OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:halt_on_error=1"}  # fmt: skip


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def _path_of(compiler: str, library: str) -> str:
    command = [compiler, f"-print-file-name={library}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def _sanitized_tests(folder: Path) -> int:
    compiler = find_compiler(TARGETS["native"])
    if compiler is None:
        raise CompileError("no C++ compiler found")
    library = compile_library(folder / "libelsa_nested.so", sanitize="address,undefined", compiler=compiler)
    preload = [_path_of(compiler, name) for name in ("libasan.so", "libubsan.so", "libstdc++.so.6")]
    environment = os.environ | _OPTIONS | {LIBRARY_VARIABLE: str(library), "LD_PRELOAD": ":".join(preload)}
    command = [sys.executable, "-m", "pytest", str(_TESTS), "-q", "-p", "no:cacheprovider", "-k", "not build"]
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603


def _fuzz(folder: Path, seconds: int) -> int:
    import numpy as np

    from runtime_adapters.kernels.segments import encode

    random = np.random.default_rng(0)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number in range(24):
        weight = random.standard_normal((int(random.integers(1, 9)), int(random.integers(1, 40)))).astype(
            np.float32
        )
        codes = weight if number % 2 else np.rint(weight * 40).astype(np.int8)
        segment = encode(
            codes, random.random(weight.shape) < 0.3, block_rows=(1, 4)[number % 3 == 0], column_block=8
        )
        (corpus / str(number)).write_bytes(segment.tobytes())
    program = folder / "fuzz"
    command = [
        "clang++",
        "-std=c++17",
        "-O1",
        "-g",
        "-fsanitize=fuzzer,address,undefined",
        "-Wno-psabi",
        "-o",
        str(program),
    ]
    objects = []
    for name, (lanes, flags) in TARGETS["native"].tables.items():
        made = folder / f"{name}.o"
        defines = [f"-DELSA_TABLE=kernels_{name}", f'-DELSA_NAME="{name}"', f"-DELSA_LANES={lanes}"]
        subprocess.run(  # noqa: S603 - our own command line
            [*command[:4], "-fsanitize=fuzzer-no-link,address,undefined", "-Wno-psabi", *flags, *defines, "-c",
             str(NATIVE_SOURCES / "kernels.cpp"), "-o", str(made)], check=True,
        )  # fmt: skip
        objects.append(str(made))
    sources = [str(path) for path in sorted(NATIVE_SOURCES.glob("*.cpp")) if path.stem != "kernels"]
    subprocess.run([*command, *sources, *objects], check=True)  # noqa: S603
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=4096"]
    return subprocess.run([str(program), *limits, str(corpus)], check=False).returncode  # noqa: S603


def main(arguments: list[str] | None = None) -> int:
    """Command line: build, run, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runtime_adapters.kernels.harden", description=__doc__)
    parser.add_argument("kind", choices=("asan", "fuzz"))
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            if given.kind == "fuzz":
                return _fuzz(Path(temporary), given.seconds)
            return _sanitized_tests(Path(temporary))
        except (CompileError, OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"{given.kind} could not be built: {error}\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())
