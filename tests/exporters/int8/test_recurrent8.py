"""Recurrent layers in 8 bits: no cell of the runtime's own is left, every level answers nearly as its float form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from elsa_edge.exporters.int8.candidates import Mix
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.int8.write import write8
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.nested_format.library import library_path
from elsa_edge.running.onnx_session import Settings, open_session, options_for
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec


class Spotter(nn.Module):
    """Both kinds of cells, both directions, and a state that is read after the last step only."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.LSTM(10, 18, batch_first=True, bidirectional=True)
        self.second = nn.GRU(36, 20, batch_first=True)
        self.head = nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.first(x)
        _, h = self.second(y)
        logits: torch.Tensor = self.head(h[-1])
        return logits


@pytest.mark.parametrize("granularity", ["1x4", "unstructured"])
def test_every_level_answers_nearly_as_its_float_network(granularity: str, tmp_path: Path) -> None:
    """Weights in blocks of four inputs, and single ones."""
    model = Spotter().eval()
    levels = sparsify(model, [0.8, 0.4, 0.0], granularity=granularity, allocation="uniform")
    graph = export_canonical(levels, model, [TensorSpec("x", (1, 12, 10))])
    plan = Plan8(graph, example_inputs(list(graph.inputs.values()), 24, seed=1))
    assert len(plan.layers) == 3
    write8(plan, [Mix(frozenset(plan.layers))] * 3, None, tmp_path)
    text = str(onnx.load(tmp_path / "model.onnx", load_external_data=False))
    assert 'op_type: "Int8Lstm"' in text
    assert 'op_type: "Int8Gru"' in text
    assert 'op_type: "LSTM"' not in text

    options = options_for(Settings(threads=1), libraries=(str(library_path()),))
    running = open_session(tmp_path / "model.onnx", options)
    feed = example_inputs(list(graph.inputs.values()), 3, seed=2)
    for level, expected in enumerate(run_canonical(graph, feed)):
        for name, array in expected.items():
            found = running.run([name], {**feed, LEVEL_INPUT: np.array(level)})[0]
            assert np.abs(found - array).max() <= 0.05 * np.abs(array).max(), level
