"""The heat map: density and time of every layer in one table, whatever is known of them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from support.records import record

from elsa_edge.report.gather import what_is_missing
from elsa_edge.report.layers import layer_tables
from elsa_edge.report.page import page
from elsa_edge.report.record import LayerFact, LayerTime, Record


def test_a_layer_has_its_density_and_its_time_at_every_level():
    (table,) = layer_tables(record())
    assert table.columns == (
        "layer", "kernels", "s95 density", "s90 density", "dense density", "s95 ms", "s90 ms", "dense ms",
    )  # fmt: skip
    assert table.rows[0] == (
        "conv.weight", "NestedConv, Conv", "5 %", "10 %", "100 %", "0.500", "0.900", "4.00",
    )  # fmt: skip
    assert {cell: (shade.tone, shade.share) for cell, shade in table.shades.items() if cell[0] == 0} == {
        (0, 2): ("cool", 0.05),
        (0, 3): ("cool", 0.1),
        (0, 4): ("cool", 1.0),
        (0, 5): ("warm", 0.125),
        (0, 6): ("warm", 0.225),
        (0, 7): ("warm", 1.0),
    }


def test_operators_without_weights_are_shown_when_they_take_time():
    """The rest is one row, and the sum holds every operator."""
    rows = {row[0]: row[-3:] for row in layer_tables(record())[0].rows}
    assert rows["mean"] == ("0.250", "0.250", "-")
    assert rows["1 small operators"] == ("0.0010", "0.0010", "0.0020")
    assert rows["together"] == ("0.751", "1.15", "4.00")


def test_a_layer_that_the_runtime_did_not_tell_apart_keeps_its_density():
    layers = (*record().layers, LayerFact(name="head.weight", shape=(3, 4), densities=(0.1, 0.2, 1.0)))
    (row,) = [row for row in layer_tables(record(layers=layers))[0].rows if row[0] == "head.weight"]
    assert row == ("head.weight", "not told apart", "10 %", "20 %", "100 %", "-", "-", "-")


def test_without_times_the_densities_stand_alone_and_the_page_says_how_to_get_them():
    without = record(layer_times=())
    (table,) = layer_tables(without)
    assert table.columns == ("layer", "shape", "s95", "s90", "dense")
    (missing,) = [m for m in what_is_missing(without, "b") if m.what.startswith("Which layers take the time")]
    assert missing.how == "elsa-edge profile b --layers -o FILE.yaml"
    assert layer_tables(record(layers=(), layer_times=())) == []


def test_shades_leave_the_text_readable():
    """Nine steps; a full shade is 45 % of its tone."""
    text = page(record())
    assert "class=cool9>100 %" in text
    assert "class=warm1>0.500" in text
    assert "td.cool9 { background: color-mix(in srgb, var(--series-0) 45%, transparent) }" in text


def test_a_layer_needs_a_time_for_every_level():
    made = record().model_dump()
    made["layer_times"] = [LayerTime(variant="v", name="conv", level_ms=(1.0,)).model_dump()]
    with pytest.raises(ValidationError, match="conv needs 3 times"):
        Record.model_validate(made)


@pytest.mark.parametrize(("variants", "shown"), [(1, 240), (3, 80)])
def test_of_very_many_layers_the_slowest_are_shown_and_the_rest_summed(variants, shown):
    """All variants together have so many rows: a page of many variants stays as quick."""
    times = tuple(
        LayerTime(variant=f"v{v}", name=f"layer.{k}.weight", kind="Conv", level_ms=(1.0, 1.0, 1.0 + k))
        for v in range(variants)
        for k in range(300)
    )
    facts = tuple(
        LayerFact(name=f"layer.{k}.weight", shape=(2, 2), densities=(0.1, 0.2, 1.0)) for k in range(300)
    )
    tables = layer_tables(record(layers=facts, layer_times=times))
    assert len(tables) == variants
    for table in tables:
        assert [row[0] for row in table.rows[:2]] == [
            f"layer.{300 - shown}.weight",
            f"layer.{301 - shown}.weight",
        ]
        assert table.rows[-2][0] == f"{300 - shown} other layers"
        assert table.rows[-1][-1] == f"{sum(1.0 + k for k in range(300)):.0f}"
