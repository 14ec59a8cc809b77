"""The network whose verbs are killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

__all__ = ["network", "prepare"]


def network() -> nn.Module:
    """Return a network of three layers."""
    from torch import nn

    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def prepare(work: Path) -> None:
    """Write what the verbs start from."""
    import torch
    from safetensors.torch import save_file

    from elsa_edge.build import build_bundle
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import parse_inputs

    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = network().eval()
    save_file(model.state_dict(), work / "dense.safetensors")
    nested = sparsify(model, [0.5, 0.0])
    nested.save(work / "nested.safetensors")
    graph = export_canonical(nested, model, parse_inputs(["1x16"]))
    graph.save(work / "m.onnx")
    graph.save(work / "e.onnx")
    build_bundle(work / "m.onnx", "generic-x86-64", work / "b", variants=["ort-switch"])
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((64, 16)).astype(np.float32)
    np.savez(work / "data.npz", input=inputs, labels=generator.integers(0, 4, 64))
