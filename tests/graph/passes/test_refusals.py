"""A pass that leaves a place alone says why: once each, and only to who asks."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from elsa_edge.cli import cli
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.passes.drop_dead_channels import DropDeadChannels
from elsa_edge.graph.passes.encode_zeros import EncodeZeros
from elsa_edge.graph.passes.fold_batch_norm import FoldBatchNorm
from elsa_edge.graph.passes.fold_pad import FoldPad
from elsa_edge.graph.passes.refusals import refuse, told
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

HEADER = '<ir_version: 10, opset_import: ["" : 20]>'


def heard(rewrite: ir.passes.InPlacePass, text: str) -> list[str]:
    said: list[str] = []
    with told(said.append):
        rewrite(ir.from_onnx_text(text))
    return said


def test_a_batch_norm_that_stays_says_why() -> None:
    """It follows nothing, or another operator."""
    norm = "y = BatchNormalization({}, s, b, m, v)"
    parameters = "float[2] s, float[2] b, float[2] m, float[2] v"
    text = f"{HEADER} g (float[1,2,3] x, {parameters}) => (float[1,2,3] y) {{ {{}} }}"

    (said,) = heard(FoldBatchNorm(), text.replace("{}", norm.format("x")))
    assert said.startswith("fold BatchNorm: BatchNormalization")
    assert said.endswith("stays, because it follows an input, not one of Conv, ConvTranspose, Gemm")
    assert "follows Relu" in heard(FoldBatchNorm(), text.replace("{}", "h = Relu(x) " + norm.format("h")))[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y = Pad(x, p)", "a known number of zeros"),
        ("q = Constant<value = int64[8] {0,0,1,1,0,0,1,1}>() y = Pad(x, q)", "an output of the network"),
        ("q = Constant<value = int64[8] {0,0,1,1,0,0,1,1}>() h = Pad(x, q) y = Relu(h)", "something else"),
    ],
)
def test_a_pad_that_stays_says_why(body: str, words: str) -> None:
    """Unknown amounts, an output, another reader."""
    text = f"{HEADER} g (float[1,2,3,3] x, int64[8] p) => (float[1,2,a,b] y) {{ {body} }}"
    (said,) = heard(FoldPad(), text)
    assert said.startswith("fold Pad: Pad")
    assert words in said


def test_dead_channels_and_dense_constants_say_why_they_stay() -> None:
    """Channels that the network's output needs; a constant without enough zeros."""
    text = HEADER + (
        "g (float[1,3,4,4] x) => (float[1,4,4,4] y) <float[4,3,1,1] a = {"
        + ",".join(["1"] * 9 + ["0"] * 3)
        + "}, float[4,4,1,1] b = {"
        + ",".join(["1"] * 16)
        + "}> { h = Conv(x, a) p = Softmax<axis = 1>(h) y = Conv(p, b) k = Conv(h, b) }"
    )
    (said,) = heard(DropDeadChannels(), text)
    assert said.startswith("drop dead channels: 1 dead channels of h stays, because Softmax")
    text = HEADER + (
        "g (float[400] x) => (float[400] y) <float[400] w = {"
        + ",".join(["2"] * 400)
        + "}> { y = Mul(x, w) }"
    )
    (said,) = heard(EncodeZeros(), text)
    assert (
        said
        == "encode zeros: the constant w stays, because 100% of it are not zero, too many for a smaller code"
    )


def test_each_sentence_is_told_once_and_only_inside_the_block(caplog: pytest.LogCaptureFixture) -> None:
    """Every level refuses the same; afterwards the logger is as it was."""
    logger = logging.getLogger("elsa_edge.graph.passes")
    before = (logger.level, logger.propagate, list(logger.handlers))
    node = ir.node("Relu", [ir.Value(name="x")], name="n")
    said: list[str] = []

    with told(said.append):
        refuse("a rewrite", node, "of this")
        refuse("a rewrite", node, "of this")
        refuse("a rewrite", node, "of that")
    refuse("a rewrite", node, "of silence")

    assert said == ["a rewrite: Relu n stays, because of this", "a rewrite: Relu n stays, because of that"]
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
    assert not caplog.records


def test_build_says_it_when_asked(tmp_path: Path) -> None:
    """`-v` names the node and the reason on stderr; without it nothing is said of passes."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5)
    ).eval()
    graph = export_canonical(sparsify(network, (0.5, 0.0)), network, [TensorSpec("", (1, 2, 6, 6))])
    graph.save(tmp_path / "m.onnx")
    build = ["build", str(tmp_path / "m.onnx"), "--device", "generic-x86-64", "--variant", "ort-levels"]

    plain = CliRunner().invoke(cli, [*build, "-o", str(tmp_path / "a")])
    verbose = CliRunner().invoke(cli, [*build, "-o", str(tmp_path / "b"), "-v"])

    assert (plain.exit_code, verbose.exit_code) == (0, 0), plain.output + verbose.output
    assert "fold BatchNorm" not in plain.stderr
    assert verbose.stderr.count("fold BatchNorm") == 1
    assert "stays, because it follows Relu" in verbose.stderr
