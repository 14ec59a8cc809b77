"""Preflight: every exporter is asked, work is counted as by hand, and bad input is answered with the way out."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from support.bundles import model

from elsa_edge.cli import cli
from elsa_edge.factory import build_model
from elsa_edge.plugins.installed import find_exporter
from elsa_edge.plugins.registry import EXPORTERS, names
from elsa_edge.preflight import LevelBound, Network, Preflight, VariantVerdict, beside, graph_of
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import Measured, MeasuredLevel

ROOT = Path(__file__).resolve().parents[1]
HERE = "raspberry-pi-5" if platform.machine() in ("aarch64", "arm64") else "generic-x86-64"


def preflight(*arguments):
    return CliRunner().invoke(cli, ["preflight", *map(str, arguments)])


@pytest.fixture
def plain(tmp_path):
    """Two products of 8x32 and 32x4 weights: 256 and 128 multiply-adds."""
    generator = np.random.default_rng(0)
    text = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[batch,8] x) => (float[batch,4] y) { h = MatMul (x, first)  r = Relu (h)  y = MatMul (r, second) }"""
    made = onnx.parser.parse_model(text)
    for name, shape in (("first", (8, 32)), ("second", (32, 4))):
        array = generator.standard_normal(shape).astype(np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    path = tmp_path / "plain.onnx"
    onnx.save(made, path)
    return path


def test_a_plain_onnx_file_is_tried_with_levels(plain):
    """Shares of work are those counted by hand, and the bound is what is left of it."""
    done = preflight(plain, "--device", "raspberry-pi-5", "--levels", "0.75,0", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {layer["name"]: layer["work_share"] for layer in found["layers"]} == pytest.approx(
        {"first": 2 / 3, "second": 1 / 3}
    )
    left = sum(layer["work_share"] * layer["densities"][0] for layer in found["layers"])
    assert found["levels"][0]["flops_fraction"] == pytest.approx(left)
    assert found["levels"][0]["most_speedup"] == pytest.approx(1 / left)
    assert found["levels"][-1]["most_speedup"] == 1.0
    verdicts = {verdict["name"]: verdict for verdict in found["variants"]}
    assert set(verdicts) == set(names(EXPORTERS))
    sparse_ms, dense_ms = verdicts["ort-nested"]["level_ms"]
    assert 0 < sparse_ms < dense_ms
    assert "nothing was timed" in verdicts["ort-nested"]["basis"]
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["first"]["granularities"] == ["4x1", "1x4", "4x4"]
    assert 0 < layers["first"]["break_even"] < 1


def test_times_are_expected_of_this_machine(plain):
    """The dense network is timed here; a level with nested kernels is the dense time and a difference."""
    graph = graph_of(Network(str(plain)), [0.9, 0.0])
    forecast = find_exporter("ort-nested").forecast(graph, load_profile(HERE))
    assert forecast is not None
    assert forecast.timed_here
    assert all(time_ms >= 0 for time_ms in forecast.level_ms)
    assert {layer.name for layer in forecast.layers} == {"first", "second"}


def test_a_network_that_is_not_trained_yet(tmp_path, monkeypatch):
    """A factory is enough, and so is a checkpoint with it; each asks for the shape of the input."""
    monkeypatch.chdir(ROOT)
    factory = "examples.cnn:tiny"
    shape = ("--input-shape", "1x1x16x16")
    torch.save(build_model(factory).state_dict(), tmp_path / "net.pt")
    for source in ((factory,), (tmp_path / "net.pt", "--model", factory)):
        done = preflight(*source, *shape, "--device", "raspberry-pi-32bit", "--levels", "0.5,0", "--json")
        assert done.exit_code == 0, done.output
        assert [level["sparsity"] for level in json.loads(done.stdout)["levels"]] == [0.5, 0.0]
    done = preflight(factory, "--device", "raspberry-pi-5")
    assert done.exit_code == 2
    assert "Add --input-shape" in done.stderr


def test_a_canonical_graph_keeps_its_own_levels(tmp_path):
    """What does not apply says why; the profile's refused variants are named in the advice."""
    done = preflight(model("conv"), "--device", "raspberry-pi-32bit", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    verdicts = {verdict["name"]: verdict for verdict in found["variants"]}
    assert not verdicts["ort-nested"]["applies"]
    assert "no nested kernels for armv7l" in verdicts["ort-nested"]["reasons"][0]
    assert all(verdict["reasons"] for verdict in found["variants"] if not verdict["applies"])
    applying = [verdict["applies"] for verdict in found["variants"]]
    assert applying == sorted(applying, reverse=True)


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("none.onnx", None, 1, "no model at"),
        ("net.pt", b"x", 2, "--model PKG.MODULE:FACTORY"),
        ("net.onnx", b"hello", 1, ""),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path, name, content, code, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = preflight(tmp_path / name, "--device", "generic-x86-64")
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert "unforeseen" not in done.stderr


def test_a_measured_profile_puts_measured_times_beside_expected_ones(tmp_path):
    """Level by level, of the variant that was measured; a table of other levels says nothing of these."""
    names, profile = ("s90", "dense"), load_profile("generic-x86-64")
    found = Preflight(
        profile.name,
        1.0,
        tuple(LevelBound(name, 0.0, 1.0, 1.0) for name in names),
        (),
        (VariantVerdict("ort-nested", "onnxruntime", True, True, (), level_ms=(1.0, 3.0)),),
        (),
    )

    def measured(*levels, variant="ort-nested"):
        rows = tuple(MeasuredLevel(name=name, p50_ms=2.0 if name == "s90" else None) for name in levels)
        return profile.model_copy(update={"measured": Measured(variant=variant, levels=rows)})

    (row,) = beside(found, measured(*names))
    assert (row.level, row.expected_ms, row.measured_ms, row.error) == ("s90", 1.0, 2.0, -0.5)
    for other in (profile, measured("s80", "dense"), measured(*names, variant="ort-switch")):
        assert beside(found, other) == ()
