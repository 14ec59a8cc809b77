"""Every layer with levels is either computed by nested kernels or named, with the reason why it stays dense."""

from __future__ import annotations

import pytest

from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.profiles import load_profile


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_an_operator_without_nested_kernels_is_named(canonical, operator: str) -> None:
    """Its weight has levels, so a person wonders why it is not faster."""
    _, refused = find_layers(level_models(canonical("recurrent")))
    assert f"no nested kernel computes {operator}" in refused.values()


def test_the_preflight_of_the_exporter_tells_it(canonical) -> None:
    """`elsa-edge preflight` and `elsa-edge build -v` print these sentences."""
    verdict = OrtNestedExporter().preflight(canonical("recurrent"), load_profile("generic-x86-64"))
    assert any("stays dense: no nested kernel computes LSTM" in reason for reason in verdict.reasons)
