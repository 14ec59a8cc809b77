"""A short run of the fuzzers: whatever is in a bundle, it is refused in words, found wrong, or right."""

from __future__ import annotations

import collections

import pytest
from support.bundles import bundle

from benchmarks.reliability.fuzzing import Fuzzer
from benchmarks.reliability.mutations import SEEDS


@pytest.mark.parametrize("kind", ["manifest", "data"])
def test_mutated_bundles_never_harm_the_host(kind: str) -> None:
    """No crash, no hang, no exception of somebody else's, nothing outside; `make fuzz` tries more."""
    fuzzer, counts = Fuzzer(bundle("conv"), kind), collections.Counter[str]()
    try:
        faults = fuzzer.faults(iter([*SEEDS, 1, 2, 74]), 120.0, counts)
    finally:
        fuzzer.close()
    assert not faults
    assert counts
