"""Golden answers at several batch sizes: samples that are the same to the network prove nothing about each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.cli import cli
from elsa_edge.errors import InputError
from elsa_edge.golden_answers import golden_answers
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.proof.batches import resized
from elsa_edge.proof.information import told_apart
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs
from elsa_edge.verify import verify_bundle


class Cloud(nn.Module):
    """Points in any order, and a batch whose samples meet."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.points, self.out, self.share = nn.Conv1d(3, 16, 1), nn.Linear(16, 4), share

    def forward(self, x):
        h = torch.relu(self.points(x)).amax(2)
        return self.out(h - h.mean(0, keepdim=True) * self.share)


class Answering(nn.Module):
    """Answers with what `end` makes of its scores, and nothing else."""

    def __init__(self, end) -> None:
        super().__init__()
        self.a, self.o, self.end = nn.Linear(8, 32), nn.Linear(32, 10), end

    def forward(self, x):
        return self.end(self.o(torch.relu(self.a(x))))


ENDS = {
    "class": lambda y: y.argmax(1),
    "class in eight bits": lambda y: y.argmax(1).to(torch.uint8),
    "flag": lambda y: y[:, :1] > 0,
    "class without a batch": lambda y: y.argmax(),
}


def exported(model: nn.Module, shape: str):
    return export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs([shape]))


@pytest.mark.parametrize("frozen", [{1}, {2}])
def test_one_real_sample_still_shows_that_samples_meet(frozen):
    """Turned samples are the same to a cloud of points, so others are made; cut into pieces they answer otherwise."""
    graph = exported(Cloud(0.5).eval(), "x=1x3x20")
    real = {"x": np.random.default_rng(1).standard_normal((1, 3, 20)).astype(np.float32)}

    golden = golden_answers(graph, real, frozen, lambda _: None)

    for batch in golden.batches[1:]:
        x = batch.inputs["x"]
        pieces = [run_canonical(graph, {"x": x[k : k + 1]})[1]["output"] for k in range(len(x))]
        assert np.abs(np.concatenate(pieces) - batch.outputs[1]["output"]).max() > 1e-2


def test_samples_that_are_the_same_to_the_network_are_refused(monkeypatch):
    """Where no change of the one sample is noticed, a batch proves nothing: a second sample is asked for."""
    monkeypatch.setattr(
        "elsa_edge.golden_answers._ways", lambda specs, trial, size: [resized(specs, trial.inputs, size)]
    )
    graph = exported(Cloud(0.5).eval(), "x=1x3x20")
    real = {"x": np.random.default_rng(1).standard_normal((1, 3, 20)).astype(np.float32)}

    with pytest.raises(InputError, match="at least two different samples"):
        golden_answers(graph, real, {1}, lambda _: None)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_has_moved_a_class_is_kept_for_who_verifies(end, seed):
    """Every level's answers differ between two samples or batches of the bundle's own; nothing is left to luck."""
    torch.manual_seed(seed)
    graph = exported(Answering(end).eval(), "x=1x8")

    golden = golden_answers(graph, None, {1}, lambda _: None)

    axes = {name: spec.batch_axis for name, spec in graph.outputs.items()}
    for level in range(2):
        assert told_apart([batch.outputs[level] for batch in golden.batches], axes)
    for batch in golden.batches:
        for level, expected in enumerate(run_canonical(graph, batch.inputs)):
            np.testing.assert_equal(dict(batch.outputs[level]), expected)


def test_samples_that_meet_on_the_way_to_a_class_are_seen():
    """A batch of another size has samples of different classes in it, so pieces of it answer otherwise."""
    torch.manual_seed(0)
    graph = exported(Answering(lambda y: (y - y.mean(0, keepdim=True)).argmax(1)).eval(), "x=1x8")

    golden = golden_answers(graph, None, {1}, lambda _: None)

    x, whole = golden.further[0].inputs["x"], golden.further[0].outputs[1]["output"]
    pieces = [run_canonical(graph, {"x": x[k : k + 1]})[1]["output"] for k in range(len(x))]
    assert (np.concatenate(pieces) != whole).any()


def test_a_classifier_that_returns_only_a_class_is_built_and_verified(tmp_path, monkeypatch):
    """Its class changes seldom: what moves it travels with the bundle, and no other input is needed."""
    torch.manual_seed(0)
    exported(Answering(ENDS["class"]).eval(), "x=1x8").save(tmp_path / "m.onnx")
    monkeypatch.setattr("elsa_edge.verify._other_inputs", lambda _: [])

    build_bundle(tmp_path / "m.onnx", "generic-x86-64", tmp_path / "b", variants=["ort-switch"])

    assert verify_bundle(tmp_path / "b").ok


def test_what_is_not_proved_travels_with_the_bundle(tmp_path):
    """A gate that no input opens: the manifest, verify and inspect name the columns; control characters stay out."""
    torch.manual_seed(0)
    gated = Answering(lambda y: torch.cat([y[:, :4], y[:, 4:8] * (y.amax(1) > 1e6)[:, None]], 1)).eval()
    exported(gated, "x=1x8").save(tmp_path / "m.onnx")

    bundle = build_bundle(tmp_path / "m.onnx", "generic-x86-64", tmp_path / "b", variants=["ort-switch"])

    (sentence,) = bundle.manifest.not_proved
    assert "4 of 8 places along axis 1 (4 to 7)" in sentence
    assert verify_bundle(tmp_path / "b").as_json()["not_proved"] == [sentence]
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "b")])
    assert f"not proved: {sentence}"[:60] in shown.stdout
    hostile = bundle.manifest.model_copy(
        update={"provenance": {"not_proved": ["fine", "\x1b[2J", 7, "x" * 1001]}}
    )
    assert hostile.not_proved == ("fine",)
