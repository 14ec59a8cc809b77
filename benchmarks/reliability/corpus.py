"""A small network in every variant that this machine can prove: what mutations, kills and crowds are tried on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["VARIANTS", "answers", "build", "unseen"]

VARIANTS: Final = (
    "onnx-selector",
    "ort-levels",
    "ort-switch",
    "ort-nested",
    "ort-nested-int8",
    "nested-int8",
    "tflite-levels",
    "tflite-sparse",
    "tflite-int8",
)


def build(folder: Path, seed: int = 0, variants: tuple[str, ...] = VARIANTS) -> Path:
    """Return a bundle of a network with random weights, built into `folder` unless it is there.

    Variants that do not apply to it are left out, as in every build.
    """
    from torch import manual_seed, nn

    from elsa_edge.build import build_bundle
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.profiles import load_profile
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import parse_inputs

    if (folder / "bundle" / "manifest.json").is_file():
        return folder / "bundle"
    folder.mkdir(parents=True, exist_ok=True)
    manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    ).eval()
    canonical = folder / "model.onnx"
    export_canonical(sparsify(model, [0.8, 0.5, 0.0]), model, parse_inputs(["1x3x12x12"])).save(canonical)
    profile = load_profile("generic-x86-64").model_copy(update={"variants": variants})
    build_bundle(canonical, profile, folder / "bundle", golden=unseen(7, samples=32))
    return folder / "bundle"


def answers(folder: Path, variant: str, seed: int = 11) -> list[dict[str, npt.NDArray[Any]]]:
    """Return what a variant of any bundle of floats answers, level by level, to inputs that are not the golden ones."""
    from elsa_edge import AdaptiveSession

    generator = np.random.default_rng(seed)
    with AdaptiveSession.open(folder, variant=variant, cache=False, check_hashes=False) as session:
        inputs = {
            name: generator.standard_normal([8 if size is None else size for size in shape]).astype(dtype)
            for name, (shape, dtype) in session.inputs.items()
        }
        return [session.run(inputs, level=level) for level in range(len(session.ladder))]


def unseen(seed: int, samples: int = 8) -> dict[str, npt.NDArray[np.float32]]:
    """Return inputs that are not the golden ones."""
    return {"input": np.random.default_rng(seed).standard_normal((samples, 3, 12, 12)).astype(np.float32)}
