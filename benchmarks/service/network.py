"""The trained networks that are disturbed: four wide layers on real digits, levels of 95, 85 and 0 %.

    whole   one session, a sparse level is faster
    cut     the same in three segments, for rerouting inside an inference
    files   the same shape with whole channels left out and a file per level: a sparse level needs less memory

The levels are trained together, also at networks that change level on their way; every accuracy is measured on 1000
images apart. The third network is for memory only and is not tuned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from click.testing import CliRunner
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.cli import cli
from elsa_edge.graph.export import export_canonical
from elsa_edge.quickstart.data import load_digits
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec
from elsa_edge.training import JointLevels

__all__ = ["LEVELS", "Bundles", "bundles"]

LEVELS: Final = (0.95, 0.85, 0.0)
_CHANNELS: Final = (0.75, 0.5, 0.0)
_WIDTH: Final = 1024
_EPOCHS: Final = 4
_BATCH: Final = 64


class Bundles(NamedTuple):
    """Folders of the three bundles."""

    whole: Path
    cut: Path
    files: Path


class _Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(784, _WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, 10),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images.flatten(1))
        return logits


def bundles(folder: Path) -> Bundles:
    """Return the bundles, trained and built where `folder` has them not yet."""
    found = Bundles(folder / "whole", folder / "cut", folder / "files")
    if all((place / "manifest.json").is_file() for place in found):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    model, nested = _trained(torch.from_numpy(digits.train_images), torch.from_numpy(digits.train_labels))
    np.savez(folder / "test.npz", images=digits.test_images, labels=digits.test_labels)
    np.savez(folder / "golden.npz", images=digits.test_images[:4])
    spec = TensorSpec("images", (None, 1, 28, 28), sizes=("batch", None, None, None))
    channels = sparsify(model, list(_CHANNELS), granularity="channel")
    for place, checkpoint, variant, segments in (
        (found.whole, nested, "ort-nested", None),
        (found.cut, nested, "ort-nested", 3),
        (found.files, channels, "ort-levels", None),
    ):
        graph = folder / f"{place.name}.onnx"
        export_canonical(checkpoint, model, (spec,)).save(graph)
        build_bundle(
            graph, "generic-x86-64", place, variants=[variant], golden=folder / "golden.npz", reroute=segments
        )
        arguments = ["evaluate", str(place), "--data", str(folder / "test.npz"), "--batch", "100"]
        CliRunner().invoke(cli, arguments, catch_exceptions=False)
    return found


def _trained(images: torch.Tensor, labels: torch.Tensor) -> tuple[nn.Module, NestedCheckpoint]:
    """Train all levels together; one step in each also goes through a network that changes level on its way."""
    torch.manual_seed(0)
    model = _Digits()
    steps = _EPOCHS * -(-len(images) // _BATCH)
    joint = JointLevels(model, list(LEVELS), steps=steps, switch_points=True)
    optimizer = torch.optim.AdamW(joint.parameters(), lr=5e-4, weight_decay=0.05)
    joint.attach(optimizer)
    for _ in range(_EPOCHS):
        for part in torch.split(torch.randperm(len(images)), _BATCH):
            optimizer.zero_grad()
            joint.backward(
                lambda part=part: nn.functional.cross_entropy(model(images[part]), labels[part])  # type: ignore[misc]
            )
            optimizer.step()
    return model.eval(), joint.checkpoint()
