"""The TFLite exporters on the zoo: the numeric contract at every level of every variant, through the adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.opening import open_variant
from support.tflite_variants import golden_for as golden
from support.tflite_variants import profile_with as profile
from torch import nn

from elsa_edge.bundle.golden import Golden, Tolerance, largest_difference
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ExportError, InputError
from elsa_edge.exporters.tflite.int8 import TfliteInt8Exporter
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.exporters.tflite.sparse import TfliteSparseExporter
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.levels import Ladder, index_from_scores
from elsa_edge.plugins import Exporter
from elsa_edge.profiles import load_profile
from elsa_edge.tensors import TensorSpec


def largest_relative(folder: Path, variant, known: Golden) -> float:
    """Run every level twice in turn through the adapter; return the largest |difference| / max(1, largest)."""
    adapter = open_variant(folder, variant, load_profile("generic-x86-64").runtime)
    worst = 0.0
    for level in [*range(len(known.outputs)), *reversed(range(len(known.outputs)))]:
        found = adapter.run(known.inputs, level)
        for name, expected in known.outputs[level].items():
            difference, scale = largest_difference(found[name], expected)
            worst = max(worst, difference / max(1.0, scale))
    adapter.close()
    return worst


CASES = [
    ("conv", TfliteLevelsExporter, {"packaging": "signatures"}),
    ("conv", TfliteSparseExporter, {"packaging": "files", "sparse_for_size": True, "input_layout": "NCHW"}),
    ("two_inputs", TfliteLevelsExporter, {"packaging": "files", "batch": 2}),
    ("recurrent", TfliteLevelsExporter, {"packaging": "signatures"}),
    ("transformer", TfliteSparseExporter, {"packaging": "signatures", "sparse_for_size": True}),
    ("mlp", TfliteSparseExporter, {"packaging": "signatures", "sparse_for_size": True}),
]


@pytest.mark.parametrize(("name", "exporter", "settings"), CASES, ids=[f"{c[0]}-{c[1].name}" for c in CASES])
def test_every_level_meets_the_numeric_contract(canonical, tmp_path, name, exporter, settings):
    """Any batch, any packaging, either layout; ladders of one and seven levels; recurrent state does not leak."""
    graph = canonical(name)
    known = golden(graph)

    variant = exporter().export(graph, profile(**settings), known, tmp_path)

    assert isinstance(exporter(), Exporter)
    assert largest_relative(tmp_path, variant, known) <= Tolerance().relative
    assert variant.instructions.kind == f"tflite-{settings['packaging']}"
    assert len(variant.level_bytes) == len(graph.ladder)


def test_sparse_files_are_smaller_and_describe_what_was_done(canonical, tmp_path):
    """The dense level is stored dense; the sparser the level, the fewer bytes."""
    graph = canonical("mlp")
    exporter = TfliteSparseExporter()

    variant = exporter.export(
        graph, profile(packaging="files", sparse_for_size=True), golden(graph), tmp_path
    )

    sizes = [(tmp_path / variant.files[f"level_{k}"]).stat().st_size for k in range(len(graph.ladder))]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.5 * sizes[-1]
    assert variant.notes["sparse"][-1]["sparse_tensors"] == 0


def test_a_variant_that_is_only_smaller_is_refused_with_reasons(canonical, tmp_path):
    """Unless asked for; the refusal says how to ask."""
    graph = canonical("mlp")
    preflight = TfliteSparseExporter().preflight(graph, profile())

    assert not preflight.applies
    assert "sparse_for_size" in preflight.reasons[-1]
    with pytest.raises(ExportError, match="would not be faster"):
        TfliteSparseExporter().export(graph, profile(), golden(graph), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibration") / "inputs.npz"
    np.savez(path, x=np.random.default_rng(5).standard_normal((32, 24)).astype(np.float32))
    return path


def test_int8_keeps_its_promise_at_every_level(canonical, tmp_path, calibration):
    """The manifest's tolerance holds for the golden inputs, and every level has ranges of its own."""
    graph = canonical("mlp")
    known = golden(graph)
    device = profile(calibration=str(calibration), int8_changed_answers=0.2)

    variant = TfliteInt8Exporter().export(graph, device, known, tmp_path)

    assert largest_relative(tmp_path, variant, known) <= variant.relative_tolerance < 0.1
    assert variant.minimum_agreement is not None
    assert len(variant.notes["calibration_agreement"]) == len(graph.ladder)
    assert set(variant.notes["recipes"]) == {"everything"}


def test_int8_survives_a_padded_maximum(tmp_path):
    """MaxPool pads with the smallest float, which would stretch the range of int8 to nothing."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(36, 5)]
    model = nn.Sequential(*layers).eval()
    weight = model[0].weight.detach().numpy()
    index = index_from_scores(np.abs(weight), [18, 36])
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    checkpoint = NestedCheckpoint(state, {"0.weight": index}, {}, Ladder.from_sparsities([0.5, 0.0]))
    graph = export_canonical(checkpoint, model, [TensorSpec("", (1, 1, 8, 8))])
    known = golden(graph, batch=16)

    variant = TfliteInt8Exporter().export(graph, profile(int8_changed_answers=0.3), known, tmp_path)

    assert variant.notes["recipes"] == ["everything", "everything"]
    assert largest_relative(tmp_path, variant, known) <= variant.relative_tolerance < 0.05


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (np.zeros((32, 24), np.float32), ExportError, "constant"),
        (np.ones((32, 23), np.float32), InputError, "wrong shape"),
        (np.ones((32, 24), np.float64), InputError, "wrong type"),
        (np.ones((3, 24), np.float32), ExportError, "too few"),
        (np.full((32, 24), np.nan, np.float32), InputError, "not finite"),
    ],
)
def test_bad_calibration_data_are_refused(canonical, tmp_path, data, error, words):
    """Before any conversion, with what was expected."""
    graph = canonical("mlp")
    path = tmp_path / "bad.npz"
    np.savez(path, x=data)
    out = tmp_path / "out"
    out.mkdir()

    with pytest.raises(error, match=words):
        TfliteInt8Exporter().export(graph, profile(calibration=str(path)), golden(graph), out)

    assert list(out.iterdir()) == []


def test_calibration_data_that_cannot_be_read_are_refused(canonical, tmp_path):
    """A file that is no archive, and one that is missing."""
    graph = canonical("mlp")
    (tmp_path / "text.npz").write_text("not an archive")

    for name in ("text.npz", "missing.npz"):
        with pytest.raises(InputError, match="cannot be read"):
            TfliteInt8Exporter().export(
                graph, profile(calibration=str(tmp_path / name)), golden(graph), tmp_path
            )


def test_a_graph_on_disk_is_untouched(canonical, tmp_path):
    """The converter overwrites the file it is given; ours is never given to it."""
    path = tmp_path / "model.onnx"
    canonical("mlp").save(path)
    before = path.read_bytes()
    graph = CanonicalGraph.load(path)
    out = tmp_path / "out"
    out.mkdir()

    TfliteLevelsExporter().export(graph, profile(packaging="signatures"), golden(graph), out)

    assert path.read_bytes() == before
    assert [file.name for file in out.iterdir()] == ["model.tflite"]
