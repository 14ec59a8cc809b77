"""Preflight: every exporter is asked, work is counted as by hand, and bad input is answered with the way out."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from support.bundles import model

from elsa_edge.cli import cli
from elsa_edge.plugins.registry import EXPORTERS, names


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
    done = preflight(plain, "--device", "generic-x86-64", "--levels", "0.75,0", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {layer["name"]: layer["work_share"] for layer in found["layers"]} == pytest.approx(
        {"first": 2 / 3, "second": 1 / 3}
    )
    left = sum(layer["work_share"] * layer["densities"][0] for layer in found["layers"])
    assert found["levels"][0]["flops_fraction"] == pytest.approx(left)
    assert found["levels"][0]["most_speedup"] == pytest.approx(1 / left)
    assert found["levels"][-1]["most_speedup"] == 1.0
    assert {verdict["name"] for verdict in found["variants"]} == set(names(EXPORTERS))


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
        ("net.pt", b"x", 2, "is a checkpoint"),
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
