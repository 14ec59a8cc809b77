"""The papers' model families: trained nested for a few steps, exported, and equal to torch at every level."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

REPOSITORY = str(Path(__file__).parents[2])
if REPOSITORY not in sys.path:
    sys.path.insert(0, REPOSITORY)

from elsa_edge.factory import build_model  # noqa: E402 - the examples lie in the repository, not in a package
from elsa_edge.graph.export import export_canonical  # noqa: E402 - the same
from elsa_edge.tensors import TensorSpec  # noqa: E402 - the same
from elsa_edge.training import GradualMagnitude, elsa_stages  # noqa: E402 - the same
from elsa_edge.training.config import read_config  # noqa: E402 - the same
from elsa_edge.training.task import call_model  # noqa: E402 - the same


def samples(name, batch):
    if name == "graph":
        edges = (torch.rand(batch, 24, 24) < 0.2).float() + torch.eye(24)
        return {"features": (torch.rand(batch, 24, 400) < 0.03).float(), "edges": edges.clamp(max=1)}
    if name == "seq2seq":
        return {"letters": torch.randint(3, 30, (batch, 16)), "sounds": torch.randint(3, 42, (batch, 16))}
    return (
        {"points": torch.randn(batch, 64, 3)}
        if name == "pointcloud"
        else {"images": torch.randn(batch, 1, 28, 28)}
    )


@pytest.mark.parametrize("name", ["cnn", "pointcloud", "seq2seq", "graph"])
def test_a_family_trains_nested_and_exports(name):
    """From its training file: the network, ELSA on a few batches, the canonical graph proved equal at each level."""
    config = read_config(Path(REPOSITORY) / "examples" / f"{name}.yaml")
    model = build_model(config.model)
    stages = elsa_stages(model, config.ladder, sparsifier=GradualMagnitude(2))
    for stage in stages:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        stage.attach(optimizer)
        for _ in range(2):
            optimizer.zero_grad()
            call_model(model, samples(name, 4)).square().mean().backward()
            optimizer.step()
    checkpoint = stages.checkpoint()
    inputs = samples(name, 3)
    specs = [TensorSpec(n, (1, *t.shape[1:]), str(t.dtype).removeprefix("torch.")) for n, t in inputs.items()]
    graph = export_canonical(checkpoint, model, specs, examples={n: t.numpy() for n, t in inputs.items()})
    assert len(graph.nested) == len(checkpoint.indices)
    assert [level.density for level in graph.ladder] == pytest.approx(list(checkpoint.densities))
    fractions = [level.flops_fraction for level in graph.ladder]
    assert np.all(np.diff(fractions) > 0)
