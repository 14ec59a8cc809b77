"""`ort-nested` answers as the canonical graph does, on every network of the zoo, whatever mixture it chooses."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from support.opening import open_variant
from torch import nn

from elsa_edge.bundle.golden import Golden
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.exporters.nested.find import find_layers, level_models
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.levels import Ladder
from elsa_edge.nested_format.library import library_path
from elsa_edge.profiles import load_profile
from elsa_edge.runtime_adapters.mapped_pages import resident_bytes
from elsa_edge.tensors import TensorSpec, largest_difference

PROFILE = load_profile("generic-x86-64")


def open_model(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.register_custom_ops_library(str(library_path()))
    return ort.InferenceSession(path, options)


def check(graph, folder, *, tolerance=1e-4, batch=2, **settings):
    """Export, run every level, compare; return the variant and a running session."""
    feed = example_inputs(list(graph.inputs.values()), batch, seed=5)
    golden = Golden(feed, run_canonical(graph, feed))
    variant = OrtNestedExporter(**settings).export(graph, PROFILE, golden, folder)
    running = open_model(folder / variant.files["model"])
    for level, expected in enumerate(golden.outputs):
        found = running.run(list(expected), {**feed, "level": np.array(level)})
        for name, array in zip(expected, found, strict=True):
            difference, scale = largest_difference(array, expected[name])
            assert difference <= tolerance * max(1.0, scale), (level, name)
    return variant, running, feed


def nest(model: nn.Module, shape: tuple[int, ...], sparsities, *, tables: bool = True):
    """Random nested levels in every weight, and other BatchNorm numbers at each level."""
    random = np.random.default_rng(0)
    ladder = Ladder.from_sparsities(sparsities)
    weights = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
    borders = 1 - np.array(ladder.sparsities)
    indices = {
        name: np.where(
            (rank := random.random(w.shape)) < borders[-1], np.searchsorted(borders, rank), 255
        ).astype(np.uint8)
        for name, w in weights.items()
        if w.ndim >= 2
    }
    moving = [name for name in weights if name.endswith(("running_mean", "running_var")) and tables]
    rows = {
        name: (weights[name] + random.random((len(ladder), *weights[name].shape))).astype(np.float32)
        for name in moving
    }
    checkpoint = NestedCheckpoint(weights, indices, rows, ladder)
    return export_canonical(checkpoint, model, [TensorSpec("", shape)])


class Odd(nn.Module):
    """What the zoo's networks do not have: gates, branches that meet, unusual strides, pads and activations."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 12, (5, 3), (2, 3), (1, 2)), nn.BatchNorm2d(12), nn.SiLU())
        self.deep = nn.Sequential(
            nn.Conv2d(12, 12, 5, padding=2, groups=12), nn.BatchNorm2d(12), nn.Hardswish()
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 4, 1), nn.ReLU(), nn.Conv2d(4, 12, 1), nn.Sigmoid()
        )
        self.left = nn.Sequential(nn.Conv2d(12, 8, 3, padding=1, groups=4), nn.BatchNorm2d(8), nn.ReLU6())
        self.right = nn.Sequential(nn.Conv2d(12, 8, 3, padding=2, dilation=2, bias=False), nn.LeakyReLU(0.1))
        self.join = nn.Conv2d(16, 12, 1)
        self.valid = nn.Conv2d(12, 9, 3)
        self.head = nn.Linear(9, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.stem(x)
        y = self.deep(x)
        y = y * self.squeeze(y)
        z = self.join(torch.cat([self.left(y), self.right(y)], 1)) + x
        return self.head(torch.relu(self.valid(z)).amax((2, 3))), z


@pytest.mark.parametrize("choose", ["nested", "auto", "dense"])
def test_every_network_of_the_zoo(any_graph, choose, tmp_path):
    """All kernels, the chosen ones, or none: the same numbers."""
    variant, _, _ = check(any_graph, tmp_path, choose=choose)
    assert {path.name for path in tmp_path.iterdir()} == set(variant.files.values())


SEVEN = (0.94, 0.92, 0.9, 0.8, 0.7, 0.5, 0.2)


@cache
def odd_graph(sparsities, tables):
    return nest(Odd(), (1, 3, 23, 31), sparsities, tables=tables)


@pytest.mark.parametrize(("sparsities", "tables"), [((0.8,), True), ((0.9, 0.0), False), (SEVEN, True)])
def test_an_odd_network_with_any_ladder(sparsities, tables, tmp_path):
    """One level, two, seven with a last one that is not dense; norms that differ by level or not; batch 3."""
    variant, running, feed = check(odd_graph(sparsities, tables), tmp_path, choose="nested", batch=3)

    assert len(variant.instructions.nested_layers[0]) == 9
    assert len(variant.level_bytes) == len(sparsities)
    for level in (-1, len(sparsities)):
        with pytest.raises(Exception, match=f"level {level} does not exist here"):
            running.run(None, {**feed, "level": np.array(level)})


class Flat(nn.Module):
    """Images of one row under kernels that are taller, a signal, its doubling by a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.tall, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.far = nn.BatchNorm2d(8), nn.Conv2d(8, 8, (5, 3), (2, 2), (4, 2), (2, 2))
        self.along, self.up = nn.Conv1d(8, 6, 5, padding=2), nn.ConvTranspose1d(6, 5, 4, 2, 1)
        self.point = nn.Conv2d(5, 4, 3, padding=1)

    def forward(self, x):
        y = self.far(self.norm(self.deep(self.tall(x).relu())).relu())[:, :, 0]
        y = self.up(self.along(y).relu()).relu()
        return self.point(y.mean(-1)[:, :, None, None])


def test_images_of_one_row(tmp_path):
    """Kernels see only the row that is there; every layer is nested and right at each level."""
    graph = nest(Flat().eval(), (1, 3, 1, 37), (0.4, 0.2, 0.0))
    layers, refused = find_layers(level_models(graph))
    assert not refused
    assert [layer.geometry.kernel for layer in layers if layer.geometry] == [
        (1, 3), (1, 3), (1, 3), (1, 5), (1, 2), (1, 3),
    ]  # fmt: skip
    check(graph, tmp_path, choose="nested")


def test_what_follows_a_layer_is_part_of_it():
    """Norm, residual and activation leave no node of their own; a dense copy of no layer remains."""
    layers, refused = find_layers(level_models(odd_graph((0.9, 0.0), False)))
    stem, deep, *_ = layers

    assert refused == {}
    assert [layer.kind for layer in layers].count("depthwise") == 1
    assert (stem.activation.kind, deep.activation.kind) == (3, 2)
    assert len(stem.absorbed) == 3
    assert [layer.residual is not None for layer in layers].count(True) == 1


def test_weights_lie_level_by_level(canonical, tmp_path):
    """Level 0's bytes come first in the data file, and every level's part starts on a page."""
    variant, _, _ = check(canonical("conv"), tmp_path, choose="nested")
    proto = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    offsets = {
        t.name: int({e.key: e.value for e in t.external_data}["offset"])
        for t in proto.graph.initializer
        if t.external_data
    }
    by_level = [
        [o for name, o in offsets.items() if name.endswith(f".segment_{k}")]
        for k in range(len(variant.level_bytes))
    ]
    filled = [level for level in by_level if level]

    assert all(max(a) < min(b) for a, b in pairwise(filled))
    assert all(min(level) % 16384 == 0 for level in filled[1:])
    assert list(variant.level_bytes) == sorted(variant.level_bytes)


def test_int8_weights_are_close_and_smaller(tmp_path):
    """One byte a weight; the variant declares its tolerance."""
    graph = nest(
        nn.Sequential(nn.Conv2d(3, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 40, 3)),
        (1, 3, 9, 9),
        (0.9, 0.5),
    )
    for folder in ("float", "int8"):
        (tmp_path / folder).mkdir()
    plain, _, _ = check(graph, tmp_path / "float", choose="nested")
    coded, _, _ = check(graph, tmp_path / "int8", choose="nested", int8=True, tolerance=0.05)

    assert coded.relative_tolerance == 0.05
    assert coded.level_bytes[-1] < 0.65 * plain.level_bytes[-1]


def test_preflight_says_what_is_missing(canonical, monkeypatch):
    """No kernels for 32-bit ARM; not compiled here; otherwise how many layers there are."""
    graph = canonical("conv")
    small = load_profile("raspberry-pi-zero-2w")
    hardware = small.hardware.model_copy(update={"arch": "armv7l"})
    assert not OrtNestedExporter().preflight(graph, small.model_copy(update={"hardware": hardware})).applies
    assert OrtNestedExporter().preflight(graph, PROFILE).applies
    monkeypatch.setattr("elsa_edge.exporters.nested.exporter.library_path", lambda: None)
    refused = OrtNestedExporter().preflight(graph, PROFILE)
    assert not refused.applies
    assert "python -m elsa_edge.runtime_adapters.kernels.build" in refused.reasons[0]


def test_a_process_at_level_0_keeps_only_its_pages(tmp_path):
    """Opening reads weights of all levels; afterwards only what runs is resident: at most 1.3 x level 0's bytes."""
    model = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512))
    variant, _, feed = check(nest(model, (1, 512), (0.8, 0.5, 0.0)), tmp_path, choose="nested")
    adapter = open_variant(tmp_path, variant, PROFILE.runtime)
    resident = []
    for level in (0, 1, 0):
        adapter.run(feed, level)
        resident.append(resident_bytes(tmp_path / variant.files["data"]))
    adapter.close()

    assert variant.level_bytes[0] < resident[0] <= 1.3 * variant.level_bytes[0] < resident[1]
