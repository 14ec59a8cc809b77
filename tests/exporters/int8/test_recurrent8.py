"""Recurrent layers in 8 bits: no cell of the runtime's own is left, every level answers nearly as its float form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from support.cells import Array
from torch import nn

from elsa_edge.exporters.int8.candidates import Mix
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.int8.write import write8
from elsa_edge.graph.canonical import CanonicalGraph
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

    feed = example_inputs(list(graph.inputs.values()), 3, seed=2)
    assert furthest(tmp_path, graph, feed) <= 0.05


def furthest(folder: Path, graph: CanonicalGraph, feed: dict[str, Array]) -> float:
    """Return the largest difference of an output from its float form over the largest of that output, of all levels."""
    options = options_for(Settings(threads=1), libraries=(str(library_path()),))
    running = open_session(folder / "model.onnx", options)
    gaps = []
    for level, expected in enumerate(run_canonical(graph, feed)):
        found = running.run(list(expected), {**feed, LEVEL_INPUT: np.array(level)})
        gaps += [
            np.abs(got - array).max() / np.abs(array).max()
            for got, array in zip(found, expected.values(), strict=True)
        ]
    return float(max(gaps))


class Continued(nn.Module):
    """Cells of small weights, so of small states, that begin far from there; of some only the last state is read."""

    def __init__(self, *, is_learned: bool, reads_all: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cells = nn.GRU(9, 16, batch_first=True)
        self.head = nn.Linear(16, 5)
        self.reads_all = reads_all
        self.start = nn.Parameter(3 * torch.randn(1, 1, 16)) if is_learned else None
        with torch.no_grad():
            for parameter in self.cells.parameters():
                parameter.mul_(0.4)

    def forward(self, x: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        y, h = self.cells(x, self.start if start is None else start)
        logits: torch.Tensor = self.head(y if self.reads_all else h[-1])
        return logits


@pytest.mark.parametrize("reads_all", [True, False])
@pytest.mark.parametrize("is_learned", [True, False])
def test_states_that_begin_beyond_the_others_are_not_cut(
    is_learned: bool, reads_all: bool, tmp_path: Path
) -> None:
    """Given with every input, or a constant of the network."""
    model = Continued(is_learned=is_learned, reads_all=reads_all).eval()
    inputs = [TensorSpec("x", (1, 3, 9))]
    if not is_learned:
        inputs.append(TensorSpec("start", (1, 1, 16)))
    graph = export_canonical(
        sparsify(model, [0.5, 0.0], granularity="1x4", allocation="uniform", include=["cells.*"]),
        model,
        inputs,
    )
    random = np.random.default_rng(3)
    feed = {"x": random.standard_normal((1, 3, 9)).astype(np.float32)}
    if not is_learned:
        feed["start"] = 3 * random.standard_normal((1, 1, 16)).astype(np.float32)
    plan = Plan8(graph, feed)
    write8(plan, [Mix(frozenset(plan.layers))] * 2, None, tmp_path)
    assert furthest(tmp_path, graph, feed) <= 0.05


def test_small_states_that_nobody_reads_have_fine_steps() -> None:
    """They are watched though they have no name."""
    model = Continued(is_learned=False, reads_all=False).eval()
    levels = sparsify(model, [0.0], granularity="1x4", allocation="uniform", include=["cells.*"])
    graph = export_canonical(levels, model, [TensorSpec("x", (1, 3, 9))])
    plan = Plan8(graph, example_inputs(list(graph.inputs.values()), 24, seed=1))
    tables = [array for name, array in plan.tensors()[0].items() if name.endswith(".state")]
    assert len(tables) == 1
    assert (tables[0][:, 0] < 1.2 / 255).all()
