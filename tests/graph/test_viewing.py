"""A graph for people: one node a nested weight, and the same numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from elsa_edge.cli import cli
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.viewing import FUNCTION, for_viewers


@pytest.fixture
def written(canonical, tmp_path):
    """The graph of a network of convolutions, and what the command made of it."""
    graph = canonical("conv")
    graph.save(tmp_path / "model.onnx")
    asked = ["inspect", str(tmp_path / "model.onnx"), "--viewer", str(tmp_path / "seen.onnx")]
    assert CliRunner().invoke(cli, asked).exit_code == 0
    return graph, tmp_path


def test_every_nested_weight_is_one_node(written):
    """Four operators a weight are gone, and the constants that only they read."""
    graph, _ = written
    seen = for_viewers(graph)
    counted = Counter(node.op_type for node in seen.graph)
    assert counted[FUNCTION] == len(graph.nested) > 1
    assert len(seen.graph) == len(graph.model.graph) - 4 * len(graph.nested)
    assert not any(name.endswith(".shape") for name in seen.graph.initializers)
    assert "LessOrEqual" not in counted
    assert len(graph.model.functions) == 0


def test_it_computes_the_same_at_every_level(written):
    """To the bit, in ONNX Runtime, which expands functions."""
    graph, folder = written
    plain, seen = (onnxruntime.InferenceSession(folder / name) for name in ("model.onnx", "seen.onnx"))
    random = np.random.default_rng(0)
    feed = {
        name: random.standard_normal([size or 2 for size in spec.shape]).astype(spec.dtype)
        for name, spec in graph.inputs.items()
    }
    for level in range(len(graph.ladder)):
        inputs = {**feed, "level": np.array(level, np.int64)}
        for one, two in zip(plain.run(None, inputs), seen.run(None, inputs), strict=True):
            assert np.array_equal(one, two)


def test_nothing_is_overwritten_and_only_graphs_are_taken(written):
    """The second time the file is there."""
    _, folder = written
    again = CliRunner().invoke(
        cli, ["inspect", str(folder / "model.onnx"), "--viewer", str(folder / "model.onnx")]
    )
    assert again.exit_code == 2
    assert "exists already" in again.output


def test_the_graph_is_read_once(canonical, tmp_path, monkeypatch):
    """Large ones take seconds to read."""
    canonical("conv").save(tmp_path / "model.onnx")
    read = []
    load = CanonicalGraph.load.__func__
    monkeypatch.setattr(
        CanonicalGraph, "load", classmethod(lambda cls, path: read.append(path) or load(cls, path))
    )
    asked = ["inspect", str(tmp_path / "model.onnx"), "--viewer", str(tmp_path / "seen.onnx")]
    assert CliRunner().invoke(cli, asked).exit_code == 0
    assert read == [tmp_path / "model.onnx"]
