"""A short run of the fuzzers: whatever is in a bundle, it is refused in words, found wrong, or right."""

from __future__ import annotations

import pytest
from support.bundles import bundle

from fuzz.mutations import SEEDS
from fuzz.run import fuzz


@pytest.mark.parametrize("kind", ["manifest", "data"])
def test_mutated_bundles_never_harm_the_host(kind: str) -> None:
    """No crash, no hang, no exception of somebody else's; `make fuzz` tries more."""
    for seed in SEEDS:
        counts, faults = fuzz(bundle("two_inputs"), kind, seed, 3, 60.0)
        assert not faults
        assert counts
