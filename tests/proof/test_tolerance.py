"""The contract: relative to the output's own scale, or to the network's own noise."""

from __future__ import annotations

import math

import pytest

from elsa_edge.proof.tolerance import LARGEST_NOISE, Tolerance


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1.0, 300.0])
def test_the_limit_follows_the_scale(scale: float) -> None:
    """1e-4 of the largest value; small outputs are not waved through."""
    tolerance = Tolerance()
    assert tolerance.limit(scale) == pytest.approx(1e-4 * scale)
    assert tolerance.allows(1e-4 * scale, scale)
    assert not tolerance.allows(1.01e-4 * scale, scale)


def test_an_ill_conditioned_network_gets_eight_times_its_own_noise() -> None:
    """Below 1.25e-5 of noise the contract is 1e-4."""
    assert Tolerance(noise=1e-3).limit(2.0) == pytest.approx(0.016)
    assert Tolerance(noise=1.2e-5).limit(1.0) == 1e-4
    assert Tolerance(0.05, 1e-3).limit(1.0) == 0.05


def test_nothing_is_allowed_where_nothing_is_known() -> None:
    """NaN and infinity are outside, zero differences of zero outputs inside."""
    assert Tolerance().allows(0.0, 0.0)
    assert not Tolerance().allows(1e-300, 0.0)
    assert not Tolerance().allows(math.nan, 1.0)
    assert not Tolerance().allows(math.inf, 1e6)


def test_noise_of_a_hundredth_is_the_most() -> None:
    """Beyond it float32 does not compute a network, and is refused elsewhere."""
    assert LARGEST_NOISE == 0.01
    assert Tolerance(noise=LARGEST_NOISE).limit(1.0) == pytest.approx(0.08)
