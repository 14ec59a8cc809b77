"""Loops that share loads compute what numpy does, on masks that no block divides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.arm.shared import Layer, compiled, seconds


@pytest.mark.skipif("avx2" not in Path("/proc/cpuinfo").read_text(), reason="the loops are of AVX2")
@pytest.mark.parametrize("density", [0.0, 0.15, 1.0])
def test_rows_alone_and_together_multiply_alike(tmp_path: Path, density: float) -> None:
    random = np.random.default_rng(0)
    there = random.random((12, 301)) < density
    weight = np.where(there, random.standard_normal(there.shape), 0).astype(np.float32)
    pixels = random.standard_normal((301, 192)).astype(np.float32)

    alone, together = seconds(compiled(tmp_path), Layer(weight, pixels))  # compares both with numpy

    assert alone > 0
    assert together > 0
