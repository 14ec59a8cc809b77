"""Modelled cycles a product of our inner loops: `python -m benchmarks.arm loops [--before COMMIT] [--json]`.

    cycles of a product = cycles of one pass / vector products of one pass,  at the most vectors that the registers hold

A product is 4 of float32, 8 of float16, or 16 of 8 bits. A nonzero has one for each vector of pixels, so at the same
cycles a product float16 takes half of float32's cycles a nonzero.

The loops are compiled as the library's are, disassembled, and given to LLVM's analyser; with `--before`, those of an
older commit too. **Models, +-30 %: nothing was measured on a board.** Needs g++-aarch64-linux-gnu and llvm-19.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import click

from benchmarks.arm.code import functions, inner_loops
from benchmarks.arm.cores import CORES, Core, analyser, bound, modelled_cycles
from benchmarks.common import Claim, Result, Row, at_most, benchmark
from elsa_edge.runtime_adapters.kernels.build import NATIVE_SOURCES

__all__ = ["half_claims", "loop_rows"]

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_SOURCE: Final = Path(__file__).with_name("loops.cpp")
_COMPILER: Final = "aarch64-linux-gnu-g++"
_FLAGS: Final = (
    "-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-DELSA_LANES=4",
    '-DELSA_NAME="base"', "-DELSA_TABLE=none", "-DELSA_TABLE8=none",
)  # fmt: skip


@dataclass(frozen=True)
class _Form:
    """Loops of one compilation.

    Attributes:
        flags: Of the compiler.
        product: The instruction that ends a product.
        cores: Those that can run it.
        loops: Their names in loops.cpp.
    """

    flags: tuple[str, ...]
    product: str
    cores: tuple[Core, ...]
    loops: tuple[str, ...]


_FLOATS: Final = ("floats_of_1_row", "floats_of_4_rows", "floats_depthwise")
_HALVES: Final = ("halves_of_1_row", "halves_of_4_rows", "halves_depthwise")
# Pixels of a product.
_PIXELS: Final = {"float32": 4, "float16": 8}
_HALF_OF_FLOAT: Final = 0.55
_QUADS: Final = ("quads_of_1_row", "quads_of_4_rows")
_EXACT: Final = ("-ffp-contract=off", "-DELSA_EIGHT_BITS")
FORMS: Final = {
    "float32": _Form(("-ffp-contract=fast",), "fmla", CORES, _FLOATS),
    "float16": _Form(
        ("-ffp-contract=fast", "-march=armv8.2-a+fp16"),
        "fmla",
        tuple(core for core in CORES if core.name != "Cortex-A72"),
        _HALVES,
    ),
    "8 bits": _Form(_EXACT, "sadalp", tuple(core for core in CORES if core.name != "Cortex-A76"), _QUADS),
    "8 bits, sdot": _Form(
        (*_EXACT, "-march=armv8.2-a+dotprod"),
        "sdot",
        tuple(core for core in CORES if core.name != "Cortex-A72"),
        _QUADS,
    ),
}


def loop_rows(sources: Path, which: str) -> list[Row]:
    """Return a row per loop and core.

    Args:
        sources: The folder of the loops' headers.
        which: What to call them, "now" or a commit.

    Raises:
        SystemExit: When a tool is missing.
    """
    command = analyser()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as folder:
        for form_name, form in FORMS.items():
            if form_name == "float16" and not (sources / "half_loops.h").is_file():
                continue  # a commit before there were any
            for name in form.loops:
                made = Path(folder, "loop.o")
                words = [_COMPILER, *_FLAGS, *form.flags, f"-D{name}", f"-I{sources}", "-c", str(_SOURCE)]
                subprocess.run([*words, "-o", str(made)], check=True)
                loop = _busiest(made, form.product)
                products = _count(loop, form.product)
                rows += [
                    {
                        "loops": which,
                        "precision": form_name,
                        "loop": name,
                        "core": core.name,
                        "cycles": round(modelled_cycles(loop, core, command) / products, 3),
                        "bound": round(bound(loop, core) / products, 3),
                        "instructions": round(len(loop) / products, 3),
                    }
                    for core in form.cores
                ]
    return rows


def _count(loop: list[str], product: str) -> int:
    return sum(line.startswith(product) for line in loop)


def _busiest(made: Path, product: str) -> list[str]:
    """Return the loop with the most products an instruction: no activation, not that of the last nonzeros."""
    loops = [loop for function in functions(made).values() for loop in inner_loops(function)]
    return max(loops, key=lambda loop: _count(loop, product) / len(loop))


def _older(commit: str, folder: Path) -> Path:
    place = NATIVE_SOURCES.resolve().relative_to(_REPOSITORY)
    words = ["git", "-C", str(_REPOSITORY), "archive", commit, str(place)]
    packed = subprocess.run(words, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / place


def half_claims(now: list[Row]) -> list[Claim]:
    """Return how cycles a nonzero of float16 compare with those of float32, for each loop and core."""
    cycles = {
        (row["precision"], str(row["loop"]).split("_", 1)[1], row["core"]): float(row["cycles"])
        / _PIXELS[row["precision"]]
        for row in now
        if row["precision"] in _PIXELS
    }
    return [
        at_most(
            f"model, +-30 %: float16 over float32, cycles a nonzero, {loop}, {core}",
            _HALF_OF_FLOAT,
            round(value / cycles["float32", loop, core], 3),
        )
        for (precision, loop, core), value in cycles.items()
        if precision == "float16"
    ]


def _claims(now: list[Row], before: list[Row]) -> list[Claim]:
    old_rows = {(row["precision"], row["loop"], row["core"]): row for row in before}
    claims = []
    for row in now:
        old = old_rows.get((row["precision"], row["loop"], row["core"]))
        if old is None:
            continue
        goal = 0.75 if row["core"] == CORES[0].name else 0.9
        share = float(row["cycles"]) / float(old["cycles"])
        claims.append(
            at_most(
                f"model, +-30 %: {row['precision']} {row['loop']} on {row['core']}, cycles over those before",
                goal,
                round(share, 3),
            )
        )
    return claims


@benchmark(
    "arm-loops", click.option("--before", metavar="COMMIT", help="Compare with an older commit's loops.")
)
def main(quick: bool, before: str | None) -> Result:  # noqa: ARG001 - it takes seconds either way
    """Modelled cycles a nonzero of the inner loops for aarch64."""
    now = loop_rows(NATIVE_SOURCES, "now")
    old: list[Row] = []
    if before:
        with tempfile.TemporaryDirectory(prefix="elsa-edge-") as folder:
            old = loop_rows(_older(before, Path(folder)), before)
    return Result(rows=[*now, *old], claims=[*half_claims(now), *_claims(now, old)])
