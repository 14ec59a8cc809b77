"""What a network may return, through every exporter that rewrites outputs: the same tensor twice, inputs, constants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge import AdaptiveSession
from elsa_edge.build import build_bundle
from elsa_edge.errors import ExportError
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs

VARIANTS = ("tflite-levels", "ort-nested", "ort-switch")


class Network(nn.Module):
    def __init__(self, ends) -> None:
        super().__init__()
        self.a, self.b, self.ends = nn.Linear(6, 16), nn.Linear(16, 4), ends
        self.register_buffer("anchors", torch.randn(7, 4))

    def forward(self, x):
        return self.ends(self, self.b(torch.relu(self.a(x))), x)


class State(nn.Module):
    """The batch of a state is its second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.out = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x, h):
        y, h = self.recurrent(x, h)
        return {"y": self.out(y), "h_next": h}


def built(model: nn.Module, shapes: list[str], folder, variants=VARIANTS):
    torch.manual_seed(0)
    export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(shapes)).save(folder / "m.onnx")
    return build_bundle(folder / "m.onnx", "generic-x86-64", folder / "bundle", variants=variants)


def check_against_torch(bundle, model: nn.Module, samples: int) -> None:
    generator = np.random.default_rng(1)
    for variant in bundle.manifest.variants:
        with AdaptiveSession.open(bundle.folder, variant=variant.name, cache=False) as session:
            inputs = {
                name: generator.standard_normal([samples if n is None else n for n in shape]).astype(dtype)
                for name, (shape, dtype) in session.inputs.items()
            }
            found = session.run(inputs, level=1)
        with torch.no_grad():
            expected = model(*map(torch.from_numpy, inputs.values()))
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            np.testing.assert_allclose(
                found[name], tensor.numpy(), atol=1e-5, err_msg=f"{variant.name} {name}"
            )


def test_copies_and_constants_are_outputs_like_others(tmp_path):
    """Twice the same tensor, an input, its class twice, constants with and without axes; another batch than golden."""
    model = Network(
        lambda s, y, x: {
            "main": y,
            "aux": y,
            "class": y.argmax(-1),
            "again": y.argmax(-1),
            "given": x,
            "anchors": s.anchors * 2,
            "penalty": (s.a.weight**2).sum(),
            "scale": torch.tensor(3.0),
        }
    ).eval()

    bundle = built(model, ["1x6"], tmp_path)

    assert [variant.name for variant in bundle.manifest.variants] == list(VARIANTS)
    check_against_torch(bundle, model, samples=3)


def test_pieces_of_a_batch_are_cut_along_the_axis_that_it_lies_on(tmp_path):
    """A file for one sample runs five: x along its first axis, the state along its second."""
    model = State().eval()

    bundle = built(model, ["x=1x5x8", "h=1xNx16"], tmp_path, ["tflite-levels"])

    assert [port.batch_axis for port in bundle.manifest.variants[0].instructions.inputs] == [0, 1]
    check_against_torch(bundle, model, samples=5)


def test_an_output_over_all_samples_is_refused_for_tflite_by_its_name(tmp_path):
    """Its file has one batch size: the way out is to export with that size."""
    model = Network(lambda _s, y, _x: {"y": y, "mean": y.mean()}).eval()

    with pytest.raises(ExportError, match=r"does not carry the batch.*mean: scalar.*--batch N"):
        built(model, ["1x6"], tmp_path, ["tflite-levels"])
