"""Multiply-adds per level, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.graph.export import export_canonical
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec


def fractions(model, names, shape, sparsities=(0.75, 0.0), dtype="float32"):
    """FLOPs fractions of a model in which the named weights keep exactly a quarter at level 0."""
    torch.manual_seed(0)
    state = {n: t.detach().numpy().copy() for n, t in model.state_dict().items()}
    indices = {}
    for name in names:
        flat = np.ones(state[name].size, np.uint8)
        flat[: flat.size // 4] = 0
        indices[name] = flat.reshape(state[name].shape)
    checkpoint = NestedCheckpoint(state, indices, {}, Ladder.from_sparsities(sparsities))
    graph = export_canonical(checkpoint, model, [TensorSpec("", shape, dtype)])
    return [level.flops_fraction for level in graph.ladder]


def test_convolutions_count_their_positions():
    """A 3x3 layer on 8x8 outweighs a 1x1 layer on 4x4: 27 * 8 * 64 against 8 * 4 * 16 multiply-adds."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 4, 1))
    first, second = 27 * 8 * 64, 8 * 4 * 16
    assert fractions(model, ["2.weight"], (1, 3, 8, 8)) == pytest.approx(
        [1 - 0.75 * second / (first + second), 1.0]
    )


def test_grouped_and_transposed_convolutions():
    """A grouped layer's weight is used at every output position, a transposed one's at every input position."""
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 2, 2, stride=2))
    grouped, transposed = 8 * 2 * 9 * 16, 8 * 2 * 4 * 16
    assert fractions(model, ["1.weight"], (1, 4, 6, 6)) == pytest.approx(
        [1 - 0.75 * transposed / (grouped + transposed), 1.0]
    )


def test_all_layers_nested_gives_the_density():
    """When every multiplying weight is nested alike, FLOPs and density agree."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    assert fractions(model, ["0.weight", "2.weight"], (1, 8)) == pytest.approx([0.25, 1.0])


def test_recurrent_weights_count_once_a_step():
    """Input and recurrent weights of an LSTM are used once a time step, a linear head behind it too."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 8, batch_first=True)
            self.head = nn.Linear(8, 16)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    steps, lstm, head = 5, 4 * 8 * (4 + 8), 8 * 16
    found = fractions(Net(), ["lstm.weight_hh_l0"], (1, steps, 4))
    assert found == pytest.approx([1 - 0.75 * (4 * 8 * 8) / (lstm + head), 1.0])


def test_attention_products_stay(canonical):
    """Products of activations cannot be pruned, so the fraction stays above the density."""
    ladder = canonical("transformer").ladder
    assert ladder[0].flops_fraction > ladder[0].density
    assert ladder[1].flops_fraction == 1.0
