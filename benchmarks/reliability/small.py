"""The network whose verbs are killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import TensorDataset

__all__ = ["examples", "network", "prepare"]

_TRAINING = """\
model: benchmarks.reliability.small:network
data: benchmarks.reliability.small:examples
ladder: [0.5, 0.0]
method: gradual-magnitude
epochs: 1
batch_size: 32
optimizer: {name: sgd, lr: 0.01}
"""


def network() -> nn.Module:
    """Return a network of three layers."""
    from torch import nn

    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def examples() -> tuple[TensorDataset, TensorDataset]:
    """Return random inputs and classes to train on."""
    import torch
    from torch.utils.data import TensorDataset

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 16, generator=generator)
    data = TensorDataset(inputs, torch.randint(0, 4, (64,), generator=generator))
    return data, data


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
    sparse = {name: torch.from_numpy(array) for name, array in nested.at_level(0).items()}
    save_file(sparse, work / "sparse.safetensors")
    (work / "train.yaml").write_text(_TRAINING)
    graph = export_canonical(nested, model, parse_inputs(["1x16"]))
    graph.save(work / "m.onnx")
    graph.save(work / "e.onnx")
    build_bundle(work / "m.onnx", "generic-x86-64", work / "b", variants=["ort-switch"])
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((64, 16)).astype(np.float32)
    np.savez(work / "inputs.npz", input=inputs)
    np.savez(work / "data.npz", input=inputs, labels=generator.integers(0, 4, 64))
