"""The LiteRT adapter holds what every adapter holds: the tests of the ONNX Runtime adapter, on TFLite variants."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.adapter_contract import (  # noqa: F401 - pytest collects them here
    test_a_level_out_of_range_is_refused_before_the_runtime,
    test_closing_twice_is_fine_and_running_after_it_is_an_error,
    test_every_level_in_every_order_gives_the_golden_outputs,
    test_inputs_and_outputs_are_those_of_the_network,
    test_inputs_that_are_not_contiguous_or_native_are_understood,
    test_memory_has_a_base_and_one_figure_a_level,
    test_numpy_integers_are_levels,
    test_other_batch_sizes_run,
    test_wrong_inputs_are_refused_with_an_explanation,
)
from support.bundles import bundle, model
from support.opening import open_variant
from support.tflite_variants import write_variant_folder

from elsa_edge.bundle import Bundle, Variant, open_bundle
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.plugins.registry import ADAPTERS, find
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.litert.adapter import LitertAdapter


@pytest.fixture(scope="module")
def conv() -> Bundle:
    return open_bundle(bundle("conv"))


@pytest.fixture(scope="module")
def folders(conv: Bundle, tmp_path_factory) -> dict[str, Path]:
    """Return the folders of both packagings."""
    parent = tmp_path_factory.mktemp("litert")
    graph = CanonicalGraph.load(model("conv"))
    for packaging in ("files", "signatures"):
        exporter = TfliteLevelsExporter()
        write_variant_folder(parent / packaging, exporter, graph, conv.golden, packaging=packaging)
    return {packaging: parent / packaging for packaging in ("files", "signatures")}


@pytest.fixture(params=["files", "signatures", "signatures, cached"])
def adapter(request, folders: dict[str, Path], tmp_path: Path):
    folder = folders[request.param.split(",")[0]]
    variant = Variant.model_validate_json((folder / "variant.json").read_text())
    cache = tmp_path / "cache" if request.param.endswith("cached") else None
    opened = open_variant(folder, variant, Runtime(name="litert"), cache)
    yield opened
    opened.close()


def test_it_is_found_by_name() -> None:
    """The entry point leads here."""
    assert find(ADAPTERS, "litert") is LitertAdapter
