"""The ONNX Runtime exporters on every network of the zoo, on the real runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.exporters.ort.levels import OrtLevelsExporter
from elsa_edge.exporters.ort.selector import OnnxSelectorExporter
from elsa_edge.exporters.ort.switch import OrtSwitchExporter
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.profiles import load_profile
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec, largest_difference

PROFILE = load_profile("generic-x86-64")


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options)


def exported(exporter, graph, folder):
    feed = example_inputs(list(graph.inputs.values()), 2, seed=11)
    golden = Golden(feed, run_canonical(graph, feed))
    return exporter.export(graph, PROFILE, golden, folder), golden


def assert_close(session, feed, expected):
    names = [output.name for output in session.get_outputs()]
    assert names == list(expected)
    for name, found in zip(names, session.run(names, feed), strict=True):
        difference, scale = largest_difference(found, expected[name])
        assert difference <= 1e-5 * max(1.0, scale)


@pytest.mark.parametrize("exporter", [OnnxSelectorExporter(), OrtSwitchExporter()], ids=lambda e: e.name)
def test_one_file_with_a_level_input(any_graph, exporter, tmp_path):
    """Every level, another batch size, and a level out of range."""
    variant, golden = exported(exporter, any_graph, tmp_path)
    running = session(tmp_path / variant.files["model"])
    for level, expected in enumerate(golden.outputs):
        assert_close(running, {**golden.inputs, "level": np.array(level)}, expected)
    single = {name: array[:1] for name, array in golden.inputs.items()}
    running.run(None, {**single, "level": np.array(0)})
    for level in (-1, len(any_graph.ladder)):
        with pytest.raises(Exception, match="out of data bounds"):
            running.run(None, {**golden.inputs, "level": np.array(level)})


def test_one_file_a_level(any_graph, tmp_path):
    """Every level's file alone, without a level input."""
    variant, golden = exported(OrtLevelsExporter(), any_graph, tmp_path)
    for level, expected in enumerate(golden.outputs):
        assert_close(session(tmp_path / variant.files[f"level_{level}"]), golden.inputs, expected)
    assert set(variant.files.values()) == {path.name for path in tmp_path.iterdir()}


def test_sparse_levels_are_small_and_common_constants_stored_once(canonical, tmp_path):
    """A 95 % level takes far less than the dense one; what levels have alike is in the shared file."""
    graph = canonical("mlp")
    OrtLevelsExporter().export(graph, PROFILE, None, tmp_path)
    sizes = [(tmp_path / f"level_{k}.onnx").stat().st_size for k in range(len(graph.ladder))]
    assert sizes[0] < 0.5 * sizes[-1]
    assert sizes == sorted(sizes)


def test_the_cascade_stores_weights_once(canonical, tmp_path):
    """Seven levels take little more than one: dense weights plus a few bits each."""
    graph = canonical("mlp")
    exported(OrtSwitchExporter(), graph, tmp_path)
    proto = onnx.load(tmp_path / "model.onnx")
    names = [tensor.name for tensor in proto.graph.initializer]
    assert sum(name.startswith("second.weight") and "level_index" not in name for name in names) == 1
    weights = sum(graph.weight(name).nbytes for name in graph.nested)
    packed = sum(len(t.raw_data) for t in proto.graph.initializer if t.name.endswith(".packed"))
    assert packed <= weights / 8 + 64


def test_nothing_is_left_to_do_per_inference(canonical, tmp_path):
    """After ONNX Runtime's folding no mask or decoding is in any branch."""
    import onnx_ir as ir

    OrtSwitchExporter().export(canonical("conv"), PROFILE, None, tmp_path)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    ort.InferenceSession(tmp_path / "model.onnx", options)
    operators = {node.op_type for node in ir.load(tmp_path / "folded.onnx").graph.all_nodes()}
    assert operators.isdisjoint(
        {"LessOrEqual", "BitShift", "BitwiseAnd", "ScatterElements", "BatchNormalization"}
    )


def test_the_cascade_is_refused_where_nothing_is_folded(canonical):
    """A profile without optimisation would decode in every inference: preflight says so."""
    profile = PROFILE.model_copy(
        update={"runtime": PROFILE.runtime.model_copy(update={"optimization": "none"})}
    )
    found = OrtSwitchExporter().preflight(canonical("conv"), profile)
    assert not found.applies
    assert "constant folding" in found.reasons[0]
    assert OrtLevelsExporter().preflight(canonical("conv"), profile).applies


def test_a_level_keeps_dead_channels_where_that_is_faster(monkeypatch, tmp_path):
    """Both forms of each level that has any are timed; the cascade has what was faster, and answers the same."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Conv2d(64, 8, 3)).eval()
    graph = export_canonical(
        sparsify(model, [0.8, 0.5, 0.0], granularity="channel"), model, [TensorSpec("", (1, 3, 12, 12))]
    )
    asked = []

    def over_first(_self, plain, candidates, level):
        assert (len(plain), candidates) == (2, [])
        asked.append(level)
        return [1.3 if level == 0 else 0.7]

    monkeypatch.setattr(Stopwatch, "over_first", over_first)
    (tmp_path / "kept").mkdir()
    variant, golden = exported(OrtSwitchExporter(), graph, tmp_path / "kept")
    assert asked == [0, 1]
    assert variant.notes == {"keeps_dead_channels": [0]}
    monkeypatch.setattr(Stopwatch, "over_first", lambda *_: [0.7])
    (tmp_path / "smaller").mkdir()
    other, _ = exported(OrtSwitchExporter(), graph, tmp_path / "smaller")
    assert other.notes == {}
    files = [tmp_path / name / "model.onnx" for name in ("kept", "smaller")]
    assert files[0].read_bytes() != files[1].read_bytes()
    for level, expected in enumerate(golden.outputs):
        for file in files:
            assert_close(session(file), golden.inputs | {"level": np.array(level)}, expected)
