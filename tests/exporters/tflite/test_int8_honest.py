"""A file that is called int8 computes in 8 bits, and says how much of it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.exporters.tflite import int8
from elsa_edge.exporters.tflite.eight_bit import eight_bit
from elsa_edge.exporters.tflite.model import TfliteModel
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory) -> Path:
    """A network that puts out maps: no matrix in it, the classes on axis 1."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 1))
    path = tmp_path_factory.mktemp("seg") / "m.onnx"
    export_canonical(sparsify(net, [0.5, 0.0]), net, parse_inputs(["1x3x12x12"])).save(path)
    return path


def images() -> dict[str, np.ndarray]:
    return {"input": np.random.default_rng(0).standard_normal((24, 3, 12, 12)).astype(np.float32)}


def test_maps_are_quantised_and_the_shares_are_told(segmentation: Path, tmp_path: Path) -> None:
    """All weights and multiply-adds of the convolutions."""
    bundle = build_bundle(
        segmentation, "android-arm64", tmp_path / "b", variants=["tflite-int8"], golden=images()
    )
    (variant,) = bundle.manifest.variants
    assert bundle.manifest.class_axes == {"output": 1}
    assert variant.notes["int8_weights"] == [1.0, 1.0]
    assert variant.notes["int8_multiply_adds"] == [1.0, 1.0]
    for role, path in variant.files.items():
        model = TfliteModel.load(bundle.folder / path)
        assert eight_bit(model).weights == 1.0, role


def test_a_recipe_that_quantises_nothing_is_refused_by_name(
    segmentation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A float file agrees with itself, which is no success."""
    recipes = {name: recipe for name, recipe in int8.RECIPES.items() if name != "everything"}
    monkeypatch.setattr(int8, "RECIPES", recipes)
    with pytest.raises(Exception, match="it quantises nothing in this network"):
        build_bundle(segmentation, "android-arm64", tmp_path / "b", variants=["tflite-int8"], golden=images())
    assert not (tmp_path / "b").exists()
