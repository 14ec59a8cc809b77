"""Accuracy in half floats: what is compared, and that a level beyond its promise is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.arm import halves
from benchmarks.common.sessions import INPUT
from elsa_edge.graph.export import export_canonical
from elsa_edge.runtime_adapters.kernels.build import CompileError, ensure_library
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec


def test_each_level_has_a_row_with_its_promise_and_what_came_of_it() -> None:
    try:
        ensure_library()
    except CompileError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)).eval()
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, [TensorSpec("", (1, 1, 8, 8))])
    images = np.random.default_rng(0).standard_normal((40, 1, 8, 8)).astype(np.float32)
    labels = np.zeros(20, np.int64)
    rows = halves.rows_of({"network": "n"}, graph.with_input_names(INPUT), images[:20], images[20:], labels)

    assert [row["sparsity"] for row in rows] == [0.5, 0.0]
    assert all(0 < row["difference"] <= row["declared"] < 0.01 for row in rows)
    assert all(row["agreement"] >= 0.9 and row["float32_layers"] == [] for row in rows)
    assert all(abs(row["lost_points"]) <= 10 for row in rows)
