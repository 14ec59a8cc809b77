"""The trained network that is disturbed: four wide layers on real digits, levels 95, 80 and 0 %, whole and in segments.

Wide layers are what a sparse level makes much faster, so that there is something to adapt. The levels are tuned one
inside the other for a short while, which is enough for digits; every accuracy is measured on 1000 images apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from click.testing import CliRunner
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.cli import cli
from elsa_edge.graph.export import export_canonical
from elsa_edge.quickstart.data import load_digits
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

__all__ = ["LEVELS", "bundles"]

LEVELS: Final = (0.95, 0.8, 0.0)
_WIDTH: Final = 1024
_EPOCHS: Final = 4


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


def bundles(folder: Path) -> tuple[Path, Path]:
    """Return the bundle and the same network in three segments, trained and built where `folder` has them not yet."""
    whole, cut = folder / "whole", folder / "cut"
    if (cut / "manifest.json").is_file():
        return whole, cut
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    model = _trained(torch.from_numpy(digits.train_images), torch.from_numpy(digits.train_labels))
    nested = sparsify(model, list(LEVELS))
    spec = TensorSpec("images", (None, 1, 28, 28), sizes=("batch", None, None, None))
    export_canonical(nested, model, (spec,)).save(folder / "model.onnx")
    np.savez(folder / "test.npz", images=digits.test_images, labels=digits.test_labels)
    np.savez(folder / "golden.npz", images=digits.test_images[:4])
    for place, segments in ((whole, None), (cut, 3)):
        build_bundle(
            folder / "model.onnx", "generic-x86-64", place, variants=["ort-nested"], golden=folder / "golden.npz",
            reroute=segments,
        )  # fmt: skip
        arguments = ["evaluate", str(place), "--data", str(folder / "test.npz"), "--batch", "100"]
        CliRunner().invoke(cli, arguments, catch_exceptions=False)
    return whole, cut


def _trained(images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """Train with most weights pulled to nothing, so that what magnitude cuts later was not needed."""
    torch.manual_seed(0)
    model = _Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)
    for _ in range(_EPOCHS):
        for part in torch.split(torch.randperm(len(images)), 64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[part]), labels[part])
            torch.autograd.backward(loss)
            optimizer.step()
    return model.eval()
