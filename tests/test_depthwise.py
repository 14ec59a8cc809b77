"""Depthwise convolutions stay dense unless a pattern names weights or whole channels are cut."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from support.texts import with_constants
from torch import nn

from elsa_edge.onnx_levels import nest_onnx
from elsa_edge.sparsify import sparsify


def _network() -> nn.Module:
    """Return pointwise, depthwise, grouped and depthwise transposed convolutions."""
    return nn.Sequential(
        nn.Conv2d(4, 8, 1),
        nn.Conv2d(8, 16, 3, groups=8),
        nn.Conv2d(16, 8, 1, groups=2),
        nn.ConvTranspose2d(8, 8, 2, groups=8),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


@pytest.fixture
def network() -> nn.Module:
    """The network with its shapes."""
    torch.manual_seed(0)
    model = _network()
    model(torch.zeros(2, 4, 6, 6))
    return model.eval()


def test_a_depthwise_convolution_stays_dense_and_it_is_said(network):
    """Grouped ones with more than one input channel are cut like any other."""
    cut = sparsify(network, [0.5, 0.0], example={"input": np.zeros((1, 4, 6, 6), np.float32)})
    assert sorted(cut.indices) == ["0.weight", "2.weight", "5.weight"]
    assert any("2 depthwise convolutions stay dense" in note for note in cut.provenance["notes"])
    share = cut.provenance["coverage"]
    assert share["multiply_adds"] + share["depthwise_multiply_adds"] == pytest.approx(1.0)


def test_a_pattern_or_whole_channels_cut_them(network):
    """`*` takes all; to drop a channel means to drop its depthwise filter."""
    assert len(sparsify(network, [0.5], include=["*"]).indices) == 5
    assert "1.weight" in sparsify(network, [0.5], include=["1"]).indices
    assert "1.weight" in sparsify(network, [0.5], granularity="channel").indices


def test_a_network_of_nothing_else_is_cut():
    """There is nothing else to gain from."""
    alone = nn.Sequential(nn.Conv1d(6, 6, 3, groups=6))
    assert list(sparsify(alone, [0.5]).indices) == ["0.weight"]


def test_onnx_files_follow_the_same_rule(tmp_path):
    """The same weights are nested without torch; transposed convolutions have their channels the other way round."""
    text = """<ir_version: 10, opset_import: ["" : 20]>
        net (float[1, 4, 6, 6] x) => (float[1, 8, 7, 7] y) {
            a = Conv <kernel_shape = [1, 1]> (x, pointwise)
            b = Conv <group = 8, kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a, depthwise)
            c = Conv <group = 2, kernel_shape = [1, 1]> (b, grouped)
            y = ConvTranspose <group = 8, kernel_shape = [2, 2]> (c, transposed)
        }"""
    random = np.random.default_rng(0)
    shapes = {
        "pointwise": (8, 4, 1, 1),
        "depthwise": (16, 1, 3, 3),
        "grouped": (8, 8, 1, 1),
        "transposed": (8, 1, 2, 2),
    }
    path = tmp_path / "network.onnx"
    numbers = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    ir.save(with_constants(text, numbers), path)
    graph, notes = nest_onnx(path, [0.5, 0.0])
    assert sorted(graph.nested) == ["grouped", "pointwise"]
    assert any("2 depthwise convolutions stay dense" in note for note in notes)
    assert any(note.startswith("depthwise (") and "it is a depthwise convolution" in note for note in notes)
    _, without = nest_onnx(path, [0.5, 0.0], exclude=["grouped"])
    assert any(note.startswith("grouped (") and "--exclude leaves it out" in note for note in without)
    everything, _ = nest_onnx(path, [0.5, 0.0], include=["*"])
    assert sorted(everything.nested) == sorted(shapes)
