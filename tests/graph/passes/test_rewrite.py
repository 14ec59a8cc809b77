"""What passes require and ensure is executed: a graph that is broken is refused before, one that they break after."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from elsa_edge.graph.constants import constant
from elsa_edge.graph.passes.apply_level import ApplyLevel
from elsa_edge.graph.passes.drop_dead_channels import DropDeadChannels
from elsa_edge.graph.passes.encode_zeros import EncodeZeros
from elsa_edge.graph.passes.flush_subnormals import FlushSubnormals
from elsa_edge.graph.passes.fold_batch_norm import FoldBatchNorm
from elsa_edge.graph.passes.fold_pad import FoldPad
from elsa_edge.graph.passes.rewrite import Rewrite, dangling
from elsa_edge.graph.passes.signals_as_images import SignalsAsImages
from elsa_edge.graph.passes.transposed_as_convolution import TransposedAsConvolution

HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'
CHAIN = HEADER + "g (float[2,3] x) => (float[2,3] y) { h = Relu(x) y = Neg(h) }"
BRANCHES = HEADER + (
    "g (bool c, float[3] x) => (float[3] y) { h = Relu(x) y = If(c) <"
    "then_branch = t () => (float[3] a) { a = Neg(h) }, else_branch = e () => (float[3] b) { b = Abs(x) }> }"
)
PASSES = (ApplyLevel(0), DropDeadChannels(), EncodeZeros(), FlushSubnormals(), FoldBatchNorm(), FoldPad(),
    SignalsAsImages(), TransposedAsConvolution())  # fmt: skip


def parsed(text: str) -> ir.Model:
    """Return a graph written as text."""
    return ir.from_onnx_text(text)


@pytest.mark.parametrize("text", [CHAIN, BRANCHES])
def test_a_whole_graph_has_no_value_without_a_source(text: str) -> None:
    """Branches see what their graph has made before them."""
    assert list(dangling(parsed(text))) == []


@pytest.mark.parametrize("rewrite", PASSES, ids=lambda rewrite: type(rewrite).__name__)
def test_every_pass_refuses_a_broken_graph(rewrite: Rewrite) -> None:
    """A node that reads what nobody makes, in the graph or in a branch."""
    for text in (CHAIN, BRANCHES):
        model = parsed(text)
        list(model.graph)[-2 if text is CHAIN else 0].replace_input_with(0, ir.Value(name="nowhere"))
        with pytest.raises(ir.passes.PreconditionError, match="reads nowhere, which nothing makes before it"):
            rewrite(model)


class _Breaking(Rewrite):
    """A pass with a mistake in it."""

    def __init__(self, mistake) -> None:
        super().__init__()
        self.mistake = mistake

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        self.mistake(model.graph)
        return ir.passes.PassResult(model, True)


def _rename_output(graph: ir.Graph) -> None:
    graph.outputs[0].name = "z"


def _reshape_output(graph: ir.Graph) -> None:
    graph.outputs[0].shape = ir.Shape([3, 2])


def _lose_input(graph: ir.Graph) -> None:
    graph.inputs.clear()


def _swap_order(graph: ir.Graph) -> None:
    first, last = graph
    graph.remove(first)
    graph.insert_after(last, first)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (_rename_output, "changed the inputs or outputs"),
        (_reshape_output, "changed the inputs or outputs"),
        (_lose_input, "Relu .* reads x, which nothing makes"),
        (_swap_order, "Neg .* reads h, which nothing makes before it"),
    ],
)
def test_a_pass_that_breaks_the_graph_is_stopped(mistake, words: str) -> None:
    """The network's interface and the order of its nodes are nobody's to change."""
    with pytest.raises(ir.passes.PostconditionError, match=f"_Breaking .*{words}"):
        _Breaking(mistake)(parsed(CHAIN))


def test_passes_refuse_what_they_cannot_work_on() -> None:
    """A level where there is none, channels in threes."""
    with pytest.raises(ir.passes.PreconditionError, match="no node makes level"):
        ApplyLevel(0)(parsed(CHAIN))
    with pytest.raises(ir.passes.PreconditionError, match="powers of two, not to 3"):
        DropDeadChannels(3)(parsed(CHAIN))


def test_each_pass_looks_at_its_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own postconditions fail where their work is not done."""
    norm = HEADER + (
        "g (float[1,2] x, float[2] s) => (float[1,2] y) { y = BatchNormalization(x, s, s, s, s) }"
    )
    monkeypatch.setattr(FoldBatchNorm, "_why_not", staticmethod(lambda *_: None))
    monkeypatch.setattr(FoldBatchNorm, "_fold", staticmethod(lambda *_: None))
    with pytest.raises(ir.passes.PostconditionError, match="left 1 and refused 0"):
        FoldBatchNorm()(parsed(norm))

    model = parsed(CHAIN)
    zeros = np.zeros((200, 30), np.float32)
    zeros[7, 3] = 2.0
    added = constant(model.graph, "weight", zeros)
    relu = next(iter(model.graph))
    model.graph.insert_after(relu, ir.node("Mul", [added, added]))
    monkeypatch.setattr(
        "elsa_edge.graph.passes.encode_zeros.gaps_and_values",
        lambda flat, kind: (np.ones(1, kind), np.ones(1, flat.dtype)),
    )
    with pytest.raises(ir.passes.PostconditionError, match="changed numbers of weight"):
        EncodeZeros()(model)
