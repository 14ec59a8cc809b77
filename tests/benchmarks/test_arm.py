"""Models and counts for ARM: loops are found, analysed and compared; what rows share is counted right."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from benchmarks.arm import loops
from benchmarks.arm.code import inner_loops
from benchmarks.arm.cores import CORES, analyser, bound, modelled_cycles
from benchmarks.arm.emulate import Block
from benchmarks.arm.masks import grouped, shared_columns
from elsa_edge.runtime_adapters.kernels.build import NATIVE_SOURCES

HERE = shutil.which("aarch64-linux-gnu-g++") and any(shutil.which(f"llvm-mca-{v}") for v in range(17, 23))
needs_tools = pytest.mark.skipif(not HERE, reason="needs g++-aarch64-linux-gnu and llvm-19")
A76 = CORES[-1]


def test_the_innermost_loop_of_two_is_found() -> None:
    function = [
        (0, "mov x0, x1"),
        (4, "ldr q0, [x0]"),
        (8, "fmla v1.4s, v0.4s, v2.s[0]"),
        (12, "b.ne 4 <f+0x4>"),
        (16, "b.ne 0 <f>"),
        (20, "ret"),
    ]
    assert inner_loops(function) == [["ldr q0, [x0]", "fmla v1.4s, v0.4s, v2.s[0]", "b.ne 4 <f+0x4>"]]


def test_the_bound_is_what_is_scarcest() -> None:
    loads = ["ldp\tq0, q1, [x0]"] * 8
    products = ["fmla\tv1.4s, v0.4s, v2.s[0]"] * 8

    assert bound(loads, A76) == 16 * 0.5
    assert bound(products, A76) == 8 / 2
    assert bound(["add\tx0, x0, #1"] * 8, A76) == 8 / 4


@needs_tools
def test_products_that_wait_for_one_another_are_modelled_as_slower() -> None:
    branch = "b.ne 0 <f>"
    apart = [f"fmla v{n}.4s, v30.4s, v31.s[0]" for n in range(8)]
    chained = ["fmla v0.4s, v30.4s, v31.s[0]"] * 8

    command = analyser()
    assert modelled_cycles([*chained, branch], A76, command) > 2 * modelled_cycles(
        [*apart, branch], A76, command
    )


@needs_tools
def test_every_loop_of_every_precision_has_a_row_a_core_and_none_beats_its_ports() -> None:
    rows = loops.loop_rows(NATIVE_SOURCES, "now")

    assert {(row["precision"], row["loop"]) for row in rows} == {
        ("float32", "floats_of_1_row"),
        ("float32", "floats_of_4_rows"),
        ("float32", "floats_depthwise"),
        ("float16", "halves_of_1_row"),
        ("float16", "halves_of_4_rows"),
        ("float16", "halves_depthwise"),
        ("8 bits", "quads_of_1_row"),
        ("8 bits", "quads_of_4_rows"),
        ("8 bits, sdot", "quads_of_1_row"),
        ("8 bits, sdot", "quads_of_4_rows"),
    }
    # The analyser gives the newest core a wider front than its makers do.
    assert all(row["cycles"] >= 0.8 * row["bound"] for row in rows)
    by_key = {(row["precision"], row["loop"], row["core"]): row["cycles"] for row in rows}
    one, four = (by_key["8 bits, sdot", f"quads_of_{n}", A76.name] for n in ("1_row", "4_rows"))
    assert four < one
    assert all(claim.holds for claim in loops.half_claims(rows))


def test_columns_that_rows_share_are_counted_once() -> None:
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0]], bool)

    assert shared_columns(mask, 1) == 10
    assert shared_columns(mask, 2) == 4 + 4 + 1
    assert shared_columns(grouped(mask, 2), 2) == 3 + 2 + 1
    assert sorted(map(tuple, grouped(mask, 2))) == sorted(map(tuple, mask))


def test_a_block_counts_all_of_its_instructions() -> None:
    assert Block(1, 3, bytes(8)).instructions == 6
