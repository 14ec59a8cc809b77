"""Branches of an If: one that hands a value through keeps its Identity; ONNX Runtime refuses the graph without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs


class Branching(nn.Module):
    def __init__(self, true, false) -> None:
        super().__init__()
        self.a, self.o, self.true, self.false = nn.Linear(6, 6), nn.Linear(6, 4), true, false

    def forward(self, x):
        return self.o(torch.cond(x.sum() > 0, self.true, self.false, (self.a(x),)))


BRANCHES = {
    "handed through when true": (lambda h: h.clone(), lambda h: h * 2),
    "handed through when false": (torch.tanh, lambda h: h.clone()),
    "dropout": (lambda h: nn.functional.dropout(h, 0.5, False) + 0, lambda h: h * 2),
}


@pytest.mark.parametrize(("true", "false"), BRANCHES.values(), ids=BRANCHES)
def test_both_branches_compute_what_torch_computes(true, false):
    """On an input for each."""
    torch.manual_seed(0)
    model = Branching(true, false).eval()
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(["x=1x6"]))
    for sign in (1, -1):
        x = sign * np.abs(np.random.default_rng(0).standard_normal((2, 6))).astype(np.float32)
        with torch.no_grad():
            expected = model(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(run_canonical(graph, {"x": x})[1]["output"], expected, atol=1e-6)
