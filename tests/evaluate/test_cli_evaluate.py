"""`elsa-edge evaluate`: the same accuracy in torch, in the graph and in every variant, written into each ladder."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.bundle import open_bundle
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.cli import cli
from elsa_edge.errors import ProfileError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.session import AdaptiveSession
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs

NETS = """
    import numpy as np
    from torch import nn

    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, x):
            return super().forward(x)

    def share_right(outputs, labels):
        return (outputs.argmax(1) == labels).astype(float)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint, graph and bundle of one network, and samples labelled by its dense level, one in five wrongly."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "own_nets.py").write_text(textwrap.dedent(NETS))
    sys.path.insert(0, str(folder))
    try:
        from own_nets import Net
    finally:
        sys.path.remove(str(folder))
    torch.manual_seed(0)
    model = Net()
    nested = sparsify(model, [0.8, 0.0])
    nested.save(folder / "nested.safetensors")
    export_canonical(nested, model, parse_inputs(["x=1x6"])).save(folder / "model.onnx")
    build_bundle(
        folder / "model.onnx", "generic-x86-64", folder / "bundle", variants=["ort-switch", "ort-levels"]
    )
    x = np.random.default_rng(1).standard_normal((50, 6)).astype(np.float32)
    with torch.no_grad():
        labels = model(torch.from_numpy(x)).argmax(1).numpy()
    labels[::5] = (labels[::5] + 1) % 4
    np.savez(folder / "data.npz", x=x, labels=labels)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of it, as the user's folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*arguments):
    result = CliRunner().invoke(cli, ["evaluate", *arguments, "--json"])
    return result, json.loads(result.stdout) if result.exit_code == 0 else None


def test_the_same_figure_everywhere(folder):
    """80 % at the dense level, and at the sparse one what torch says, in every form."""
    _, torchs = evaluate("nested.safetensors", "--model", "own_nets:Net", "--data", "data.npz")
    _, graphs = evaluate("model.onnx", "--data", "data.npz", "--batch", "7")
    _, bundles = evaluate(
        "bundle", "--data", "data.npz", "--variant", "ort-switch", "--variant", "ort-levels"
    )
    (expected,) = torchs["measured"].values()
    assert expected[-1]["accuracy"] == pytest.approx(0.8)
    assert expected[-1]["samples"] == 50
    assert expected[-1]["low"] < 0.8 < expected[-1]["high"]
    for measured in (*graphs["measured"].values(), *bundles["measured"].values()):
        assert measured == expected
    for ladder in (
        NestedCheckpoint.load(folder / "nested.safetensors").ladder,
        CanonicalGraph.load(folder / "model.onnx").ladder,
        open_bundle(folder / "bundle").ladder,
    ):
        assert [level.accuracy for level in ladder] == [row["accuracy"] for row in expected]
        assert (ladder[1].samples, ladder[1].metric) == (50, "top1")


def test_only_the_ladder_changes(folder, made):
    """Weights, indices and files of variants are bit for bit what they were."""
    evaluate("nested.safetensors", "--model", "own_nets:Net", "--data", "data.npz")
    evaluate("bundle", "--data", "data.npz")
    before, after = (NestedCheckpoint.load(f / "nested.safetensors") for f in (made, folder))
    for name, array in before.weights.items():
        assert after.weights[name].tobytes() == array.tobytes()
    old, new = open_bundle(made / "bundle").manifest, open_bundle(folder / "bundle").manifest
    assert old.files == new.files
    assert old.ladder != new.ladder


def test_a_minimum_accuracy_works_from_then_on(folder):
    """Unknown before; then the level below it is left out."""
    profile = open_bundle("bundle").folder / "device.yaml"
    text = profile.read_text().replace("minimum_accuracy: null", "minimum_accuracy: 0.75")
    assert "0.75" in text
    (folder / "own.yaml").write_text(text)
    with pytest.raises(ProfileError, match="elsa-edge evaluate"):
        AdaptiveSession.open("bundle", "own.yaml", cache=False)
    evaluate("bundle", "--data", "data.npz")
    with AdaptiveSession.open("bundle", "own.yaml", cache=False) as session:
        sparse = session.bundle.ladder[0].accuracy
        assert ("left out" in " ".join(session.notes)) == (sparse < 0.75)
        assert session.level == 1 or sparse >= 0.75


def test_a_copy_or_nothing_is_written_on_request(folder):
    """-o leaves the original as it was; --no-write writes nowhere."""
    evaluate("model.onnx", "--data", "data.npz", "-o", "measured.onnx")
    evaluate("bundle", "--data", "data.npz", "-o", "measured")
    evaluate("model.onnx", "--data", "data.npz", "--no-write")
    assert CanonicalGraph.load(folder / "model.onnx").ladder[1].accuracy is None
    assert CanonicalGraph.load(folder / "measured.onnx").ladder[1].accuracy == pytest.approx(0.8)
    assert open_bundle(folder / "bundle").ladder[1].accuracy is None
    assert open_bundle(folder / "measured").ladder[1].accuracy == pytest.approx(0.8)


def test_a_metric_of_the_users(folder):
    """PKG:FUNCTION gets outputs and labels."""
    _, own = evaluate("model.onnx", "--data", "data.npz", "--metric", "own_nets:share_right")
    assert own["measured"]["canonical graph"][1]["accuracy"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d | {"labels": d["labels"][:-1]}, "not as many labels as samples"),
        (lambda d: d | {"labels": d["labels"] + 4}, "no class of the network"),
        (lambda d: {"x": d["x"]}, "which array holds the labels"),
        (
            lambda d: {"z": d["x"], "labels": d["labels"]},
            "inputs: expected x, found z, labels",
        ),
        (lambda d: d | {"x": d["x"].astype("f8")}, "wrong type"),
        (lambda d: d | {"x": d["x"] * np.float32("nan")}, "holds NaN or infinities"),
        (lambda d: d | {"labels": d["labels"] > 0}, "True and false are no labels of so many classes"),
        (lambda d: {name: array[:0] for name, array in d.items()}, "holds no samples"),
    ],
)
def test_bad_data_changes_nothing(folder, change, words):
    """A clear error, and the file as it was."""
    with np.load("data.npz") as arrays:
        np.savez("bad.npz", **change(dict(arrays)))
    before = (folder / "model.onnx").read_bytes()
    result, _ = evaluate("model.onnx", "--data", "bad.npz")
    assert result.exit_code == 1
    assert words in result.stderr
    assert (folder / "model.onnx").read_bytes() == before


def test_a_network_with_a_fixed_batch(folder):
    """Samples are fed as it takes them; the last piece is filled up."""
    from own_nets import Net

    torch.manual_seed(0)
    model = Net()
    nested = NestedCheckpoint.load(folder / "nested.safetensors")
    export_canonical(nested, model, parse_inputs(["x=1x6"]), batch=3).save(folder / "three.onnx")
    _, found = evaluate("three.onnx", "--data", "data.npz")
    assert found["measured"]["canonical graph"][1]["accuracy"] == pytest.approx(0.8)
    assert isinstance(model, nn.Module)


def test_each_change_of_level_inside_an_inference_gets_its_accuracy(made, tmp_path):
    """In the manifest of a rerouted bundle, and never outside what the levels themselves answer by much."""
    bundle = tmp_path / "rerouted"
    build_bundle(made / "model.onnx", "generic-x86-64", bundle, variants=["ort-switch"], reroute=2)
    result = CliRunner().invoke(
        cli, ["evaluate", str(bundle), "--data", str(made / "data.npz"), "--json"], catch_exceptions=False
    )
    told = json.loads(result.stdout)
    (point,) = told["switch_points"]["ort-switch"]
    assert point["levels"] == [1, 0]
    (kept,) = open_bundle(bundle).manifest.variants[0].instructions.switch_points
    assert kept.accuracy == pytest.approx(point["accuracy"])
    with np.load(made / "data.npz") as file:
        inputs, labels = file["x"], file["labels"]
    with AdaptiveSession.open(bundle, cache=False) as session:
        chain = session._adapter
        answers = [chain.run_rerouted({"x": x[None]}, 1, lambda _border, _level: 0) for x in inputs]
    right = [next(iter(a.values())).argmax() == label for a, label in zip(answers, labels, strict=True)]
    assert kept.accuracy == pytest.approx(np.mean(right))
