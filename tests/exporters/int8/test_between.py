"""Gates, concatenations and larger images stay in codes between convolutions, and every level answers as before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
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


class Segmenting(nn.Module):
    """A gate as in MobileNetV3, a path down and up again as in a U-Net, and a concatenation of both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.squeeze = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid())
        self.down = nn.Sequential(
            nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU()
        )
        self.up = nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(20, 5, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x * self.squeeze(x.mean((2, 3), keepdim=True))
        y: torch.Tensor = self.last(torch.cat([x, self.up(self.down(x))], 1))
        return y


def test_a_network_is_converted_at_its_borders_only(tmp_path: Path) -> None:
    """One image goes in and one comes out; beside them only the numbers of the gate are floats."""
    model = Segmenting().eval()
    levels = sparsify(model, [0.6, 0.0], granularity="1x4", allocation="uniform")
    graph = export_canonical(levels, model, [TensorSpec("x", (1, 3, 16, 16))])
    plan = Plan8(graph, example_inputs(list(graph.inputs.values()), 24, seed=1))
    write8(plan, [Mix(frozenset(plan.layers))] * 2, None, tmp_path)
    written = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    kinds = Counter(node.op_type for node in written.graph.node)
    assert (kinds["Int8Gate"], kinds["Int8Upsample"], kinds["Concat"]) == (1, 1, 1)
    assert "Resize" not in kinds
    # The image, and the means that the gate is made of.
    assert (kinds["Int8FromImage"], kinds["ImageFromInt8"]) == (2, 2)

    options = options_for(Settings(threads=1), libraries=(str(library_path()),))
    running = open_session(tmp_path / "model.onnx", options)
    feed = example_inputs(list(graph.inputs.values()), 3, seed=2)
    for level, expected in enumerate(run_canonical(graph, feed)):
        for name, array in expected.items():
            found = running.run([name], {**feed, LEVEL_INPUT: np.array(level)})[0]
            error = np.sqrt(np.square(found - array).mean())  # the largest numbers of the range may be cut
            assert error <= 0.05 * array.std(), level
