"""Times of layers come from the runtime, and stand beside the layer whose operator took them."""

from __future__ import annotations

import pytest
from support.bundles import bundle, model

from elsa_edge.bundle import open_bundle
from elsa_edge.errors import RuntimeUnavailableError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.layer_names import names_by_weight
from elsa_edge.layer_times import tells_layer_times, time_layers, with_layer_times
from elsa_edge.loading import open_adapter, resolve_profile
from elsa_edge.measure import measure_bundle
from elsa_edge.plugins.guarded import GuardedAdapter
from elsa_edge.profiles import load_profile, save_profile
from elsa_edge.report.gather import from_bundle, with_measured


@pytest.mark.parametrize("name", ["ort-switch", "ort-levels", "onnx-selector"])
def test_every_nested_layer_has_a_time_at_every_level(name):
    opened = open_bundle(bundle("conv"))
    timed = {
        layer.name: layer
        for layer in time_layers(opened, opened.manifest.variant(name), resolve_profile(opened, None))
    }
    nested = [layer["name"] for layer in opened.manifest.provenance["layers"]]
    assert nested
    assert set(nested) <= set(timed)
    for layer in nested:
        assert all(ms is not None and ms >= 0 for ms in timed[layer].level_ms), layer
        kinds = set(timed[layer].kind.replace(",", " +").split(" + "))
        assert kinds & {"Conv", "ConvTranspose", "Gemm", "MatMul"}, layer


def test_a_name_belongs_to_one_layer():
    """Where branches join, the later layer has it; what is before a layer is never its own."""
    for net in ("conv", "mlp"):
        names = names_by_weight(CanonicalGraph.load(model(net)))
        every = [name for owned in names.values() for name in owned]
        assert len(every) == len(set(every))
        assert all(names.values())


def test_a_profile_carries_the_times_into_a_report(tmp_path):
    opened = open_bundle(bundle("conv"))
    profile = with_layer_times(opened, measure_bundle(opened, variant="ort-switch", seconds=0))
    save_profile(profile, tmp_path / "d.yaml")
    back = load_profile(tmp_path / "d.yaml")
    assert back == profile
    for row in back.measured.levels:
        assert row.p50_ms <= row.p90_ms <= row.p95_ms <= row.p99_ms
        assert row.first_ms > row.cold_ms
    record = with_measured(from_bundle(opened, back), back)
    assert {layer.variant for layer in record.layer_times} == {"ort-switch"}
    assert [layer.name for layer in record.layer_times] == [layer.name for layer in back.measured.layers]
    assert all(row.first_ms for row in record.rows if row.variant == "ort-switch")


class Silent:
    """An adapter that tells nothing of its operators."""

    def missing(self, variant):
        return None

    def choices(self, variant):
        return ()

    def open(self, folder, variant, *, level_count, runtime, cache):
        raise AssertionError


def test_a_runtime_that_does_not_tell_is_left_alone(monkeypatch, tmp_path):
    opened = open_bundle(bundle("conv"))
    measured = measure_bundle(opened, variant="ort-switch", seconds=0)
    silent = GuardedAdapter("silent", Silent())
    for module in ("layer_times", "loading"):
        monkeypatch.setattr(f"elsa_edge.{module}.find_adapter", lambda _: silent)
    variant = opened.manifest.variant("ort-switch")
    assert not tells_layer_times(variant)
    assert with_layer_times(opened, measured) == measured
    with pytest.raises(RuntimeUnavailableError, match="does not tell how long operators take"):
        open_adapter(opened, variant, measured, None, into=tmp_path)
