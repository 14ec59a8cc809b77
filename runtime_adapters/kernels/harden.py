"""Run the kernels under sanitizers and a fuzzer: `python -m elsa_edge.runtime_adapters.kernels.harden asan|tsan|fuzz`.

asan    AddressSanitizer and UndefinedBehaviorSanitizer under the kernels' own tests (gcc or clang)
tsan    ThreadSanitizer under native/drivers/race.cpp: every operator from several threads at once (gcc or clang)
fuzz    libFuzzer over the bytes of segments, seeded with valid ones (clang)

ONNX Runtime's own pool hands work over in ways that ThreadSanitizer takes for races; the driver therefore brings a
stand-in for the runtime. Before it is believed, it must report a race that is planted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from elsa_edge.nested_format.library import LIBRARY_VARIABLE
from elsa_edge.runtime_adapters.kernels.build import (
    NATIVE_SOURCES,
    TARGETS,
    CompileError,
    compile_library,
    find_compiler,
)

__all__ = ["main"]

_TESTS = Path(__file__).resolve().parents[2] / "tests" / "runtime_adapters" / "kernels"
# Memory that Python and ONNX Runtime keep until they exit is not ours to report.
_OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
_DRIVERS = NATIVE_SOURCES / "drivers"


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


def _program(folder: Path, compiler: str, driver: str, compiling: str, linking: str) -> Path:
    """Compile all of the kernels and one driver, two files at a time, into a program.

    Args:
        folder: Where to put it.
        compiler: gcc or clang.
        driver: A file of native/drivers, without its suffix.
        compiling: The sanitizers' flag for each file.
        linking: The same for the link.
    """
    jobs: list[tuple[str, Path, tuple[str, ...]]] = [
        (source.stem, source, ())
        for source in sorted(NATIVE_SOURCES.glob("*.cpp"))
        if source.stem != "kernels"
    ]
    jobs.append((driver, _DRIVERS / f"{driver}.cpp", ()))
    for name, (lanes, flags) in TARGETS["native"].tables.items():
        defines = (f"-DELSA_TABLE=kernels_{name}", f'-DELSA_NAME="{name}"', f"-DELSA_LANES={lanes}")
        jobs.append((f"kernels_{name}", NATIVE_SOURCES / "kernels.cpp", (*flags, *defines)))

    def compile_one(job: tuple[str, Path, tuple[str, ...]]) -> str:
        name, source, flags = job
        made = str(folder / f"{name}.o")
        command = [compiler, "-std=c++17", "-O1", "-g", "-Wno-psabi", compiling, *flags]
        subprocess.run([*command, "-c", str(source), "-o", made], check=True)  # noqa: S603 - our own command line
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, jobs))
    program = folder / driver
    subprocess.run([compiler, linking, "-pthread", *objects, "-o", str(program)], check=True)  # noqa: S603
    return program


def _race(folder: Path) -> int:
    compiler = find_compiler(TARGETS["native"])
    if compiler is None:
        raise CompileError("no C++ compiler found")
    program = str(_program(folder, compiler, "race", "-fsanitize=thread", "-fsanitize=thread"))
    planted = subprocess.run([program, "planted"], capture_output=True, text=True, check=False)  # noqa: S603
    if planted.returncode == 0 or "WARNING: ThreadSanitizer: data race" not in planted.stderr:
        sys.stderr.write(
            f"ThreadSanitizer did not see the planted race, so it shows nothing: {planted.stderr}\n"
        )
        return 1
    sys.stdout.write("the planted race was reported\n")
    sys.stdout.flush()
    return subprocess.run([program], check=False).returncode  # noqa: S603


def _fuzz(folder: Path, seconds: int) -> int:
    import numpy as np

    from elsa_edge.nested_format.segments import encode

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
    program = _program(
        folder,
        "clang++",
        "fuzz",
        "-fsanitize=fuzzer-no-link,address,undefined",
        "-fsanitize=fuzzer,address,undefined",
    )
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=4096"]
    return subprocess.run([str(program), *limits, str(corpus)], check=False).returncode  # noqa: S603


def main(arguments: list[str] | None = None) -> int:
    """Command line: build, run, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m elsa_edge.runtime_adapters.kernels.harden", description=__doc__
    )
    parser.add_argument("kind", choices=("asan", "tsan", "fuzz"))
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            if given.kind == "fuzz":
                return _fuzz(Path(temporary), given.seconds)
            return _race(Path(temporary)) if given.kind == "tsan" else _sanitized_tests(Path(temporary))
        except (CompileError, OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"{given.kind} could not be built: {error}\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())
