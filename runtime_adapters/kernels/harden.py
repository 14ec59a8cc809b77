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
from pathlib import Path

from elsa_edge.nested_format.library import LIBRARY_VARIABLE
from elsa_edge.runtime_adapters.kernels.build import (
    TARGETS,
    CompileError,
    compile_driver,
    compile_library,
    find_compiler,
)

__all__ = ["main"]

_TESTS = Path(__file__).resolve().parents[2] / "tests" / "runtime_adapters" / "kernels"
# Memory that Python and ONNX Runtime keep until they exit is not ours to report.
_OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
_CAREFUL = ("-O1", "-g", "-fno-omit-frame-pointer")


def _path_of(compiler: tuple[str, ...], library: str) -> str:
    command = [*compiler, f"-print-file-name={library}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def _sanitized_tests(folder: Path) -> int:
    compiler = find_compiler(TARGETS["native"])
    if compiler is None:
        raise CompileError("no C++ compiler found")
    library = compile_library(folder / "libelsa_nested.so", sanitize="address,undefined")
    preload = [_path_of(compiler, name) for name in ("libasan.so", "libubsan.so", "libstdc++.so.6")]
    environment = os.environ | _OPTIONS | {LIBRARY_VARIABLE: str(library), "LD_PRELOAD": ":".join(preload)}
    command = [sys.executable, "-m", "pytest", str(_TESTS), "-q", "-p", "no:cacheprovider", "-k", "not build"]
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603


def _race(folder: Path) -> int:
    thread = "-fsanitize=thread"
    program = str(compile_driver("race", folder, compiling=[*_CAREFUL, thread], linking=[thread]))
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
        codes = (weight, np.rint(weight * 40).astype(np.int8), weight.astype(np.float16))[number % 3]
        segment = encode(
            codes, random.random(weight.shape) < 0.3, block_rows=(1, 4)[number % 2], column_block=8
        )
        (corpus / str(number)).write_bytes(segment.tobytes())
    checks = "address,undefined"
    program = compile_driver(
        "fuzz",
        folder,
        compiler="clang++",
        compiling=[*_CAREFUL, f"-fsanitize=fuzzer-no-link,{checks}"],
        linking=[f"-fsanitize=fuzzer,{checks}"],
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
