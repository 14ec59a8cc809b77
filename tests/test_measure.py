"""Measuring: a table that fits the bundle, that the controller takes, and that says under which conditions."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundles import bundle

from elsa_edge import AdaptiveSession
from elsa_edge.bundle import open_bundle
from elsa_edge.measure import measure_bundle, one_sample
from elsa_edge.profiles import load_profile, save_profile


@pytest.mark.parametrize("variant", ["ort-switch", "ort-levels"])
def test_every_level_gets_a_row_and_the_controller_takes_it(tmp_path: Path, variant: str) -> None:
    """Latency, cold run, switch cost, memory; saved, loaded, and used by a session."""
    measured = measure_bundle(bundle("conv"), variant=variant, cache=tmp_path / "cache", seconds=0.0)
    table = measured.measured
    assert table is not None
    assert [row.name for row in table.levels] == ["s90", "s50", "s20"]
    for row in table.levels:
        assert 0 < row.p50_ms <= row.p95_ms
        assert row.cold_ms > 0
        assert row.switch_ms >= 0
        assert row.memory_bytes > 0
    assert table.bundle == open_bundle(bundle("conv")).identity
    assert table.variant == variant
    assert {"cpu", "threads", "python", "load_average"} <= set(table.context)

    save_profile(measured, tmp_path / "device.yaml")
    with AdaptiveSession.open(
        bundle("conv"), tmp_path / "device.yaml", variant=variant, cache=False
    ) as session:
        assert not any("No latency" in note for note in session.notes)
    assert load_profile(tmp_path / "device.yaml").measured == table


def test_one_sample_is_measured() -> None:
    """The golden batch is two; devices see one input at a time."""
    assert {name: array.shape for name, array in one_sample(open_bundle(bundle("two_inputs"))).items()} == {
        "x": (1, 6, 20),
        "offset": (1, 3),
    }
