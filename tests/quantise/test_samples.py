"""Which of the given samples calibration looks at."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_edge.quantise.samples import checked_samples
from elsa_edge.tensors import TensorSpec


def taken(count: int, batch: int | None = None) -> np.ndarray:
    specs = {"x": TensorSpec("x", (batch, 1))}
    given = {"x": np.arange(count, dtype=np.float32)[:, None]}
    return checked_samples(specs, given, "a file", "")["x"][:, 0]


@pytest.mark.parametrize("count", [16, 255, 256, 257, 300, 511, 512, 600, 1000, 5000])
def test_samples_are_spread_over_the_whole_file(count) -> None:
    """A file may be sorted by class: the last one is seen as the first is, and no stretch is left out."""
    found = taken(count)

    assert len(found) == min(count, 256)
    assert (found[0], found[-1]) == (0, count - 1)
    assert np.diff(found).min() >= 1
    assert np.diff(found).max() <= -(-count // 255)


@pytest.mark.parametrize(("count", "batch", "expected"), [(600, 10, 250), (48, 3, 48), (1200, 300, 300)])
def test_a_fixed_batch_gets_whole_batches(count, batch, expected) -> None:
    found = taken(count, batch)

    assert len(found) == expected
    assert found[-1] == count - 1
