"""What is expected of networks in 8 bits before they are built: work in fours, and what stays dense."""

from __future__ import annotations

import pytest

from elsa_edge.exporters.int8.candidates import SLOWNESS, active_fours
from elsa_edge.exporters.int8.forecast import _REST, forecast_nested8, nested_shares
from elsa_edge.exporters.nested.forecast import others_ms
from elsa_edge.exporters.nested.layer_set import layer_set_of
from elsa_edge.exporters.nested.price import RATES, dense_us
from elsa_edge.profiles import load_profile


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_single_zeros_save_little_where_four_channels_go_together(canonical, name):
    """A layer's share of work in fours is at least that of its weights, rises, and is all of it where all are used."""
    layers = layer_set_of(canonical(name))
    for layer in layers.layers:
        shares = [active_fours(layer, level) for level in range(layers.count)]
        assert shares == sorted(shares)
        assert all(share >= layer.density(level) - 1e-9 for level, share in enumerate(shares))


def test_what_stays_dense_costs_what_it_costs_there(canonical):
    """Depthwise layers and operators between layers keep their time; the others shrink with their fours."""
    layers, rates = layer_set_of(canonical("conv")), RATES["x86-64"]
    depthwise = [layer for layer in layers.layers if layer.kind == "depthwise"]
    products = [layer for layer in layers.layers if layer.kind != "depthwise"]
    assert depthwise
    assert products
    stays_ms = others_ms(layers, rates) + sum(dense_us(layer, rates) for layer in depthwise) / 1e3
    whole_ms = stays_ms + sum(dense_us(layer, rates) for layer in products) / 1e3
    for level, share in enumerate(nested_shares(canonical("conv"), rates)):
        nested_ms = (
            sum(SLOWNESS * active_fours(layer, level) * dense_us(layer, rates) for layer in products) / 1e3
        )
        assert share == pytest.approx(_REST + (stays_ms + nested_ms) / whole_ms)
        assert share > stays_ms / whole_ms


def test_eight_bits_elsewhere_are_never_slower_than_their_dense_network(canonical):
    """On another kind of processor nothing is timed, and it is said."""
    found = forecast_nested8(canonical("mlp"), load_profile("raspberry-pi-5"))
    assert not found.timed_here
    assert list(found.level_ms) == sorted(found.level_ms)
