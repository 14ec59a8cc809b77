"""Every layer with levels is either computed by nested kernels or named, with the reason why it stays dense."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.onnx_levels import nest_onnx
from elsa_edge.profiles import load_profile

PLAIN_CELL = """
<ir_version: 10, opset_import: ["" : 20]>
one (float[4, 1, 3] x) => (float[4, 1, 1, 2] y)
<float[1, 2, 3] w = {1, 2, 3, 4, 5, 6}, float[1, 2, 2] r = {1, 2, 3, 4}>
{ y = RNN <hidden_size = 2> (x, w, r) }
"""


@pytest.fixture
def plain_cell(tmp_path: Path) -> CanonicalGraph:
    """Return a network whose only layer no nested kernel computes."""
    onnx.save(onnx.parser.parse_model(PLAIN_CELL), tmp_path / "plain.onnx")
    return nest_onnx(tmp_path / "plain.onnx", (0.5, 0.0))[0]


def test_an_operator_without_nested_kernels_is_named(plain_cell: CanonicalGraph) -> None:
    """Its weight has levels, so a person wonders why it is not faster."""
    layers, refused = find_layers(level_models(plain_cell))
    assert layers == []
    assert "no nested kernel computes RNN" in refused.values()


def test_the_preflight_of_the_exporter_tells_it(plain_cell: CanonicalGraph) -> None:
    """`elsa-edge preflight` and `elsa-edge build -v` print these sentences."""
    verdict = OrtNestedExporter().preflight(plain_cell, load_profile("generic-x86-64"))
    assert any("stays dense: no nested kernel computes RNN" in reason for reason in verdict.reasons)
