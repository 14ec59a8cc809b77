"""The proof of an export: it can fail, it knows the network's own noise, and it refuses what says nothing."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ContractError, InputError
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.dependence import depending_outputs, vocabularies
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.noise import jittered, noise_between, noise_table
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.levels import Ladder
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs


class Before(nn.Module):
    """A function in front of a linear layer."""

    def __init__(self, before, after=lambda y: y) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after, self.a, self.b = before, after, nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.after(self.b(torch.relu(self.a(self.before(x)))))


def exported(model, shape="1x8", **more):
    return export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs([shape]), **more)


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        (lambda x: x, "normal"),
        (torch.log, "positive"),
        (torch.asin, "image-like"),
        (lambda x: (x > 9).float(), "wide"),
    ],
)
def test_inputs_are_chosen_on_which_the_network_speaks(before, kind):
    """NaN equals NaN and zeros equal zeros: other inputs are tried before anything is proved on them."""
    graph = exported(Before(before))
    assert graph.provenance["proof"]["inputs"] == kind


def test_a_network_that_never_speaks_is_refused_with_advice():
    """Whatever goes in, nothing can be proved."""
    with pytest.raises(InputError, match=r"would prove nothing.*--data FILE.npz"):
        exported(Before(lambda x: x, lambda y: y * torch.nan))
    with pytest.raises(InputError, match="moves by 0"):
        exported(Before(lambda x: x, lambda y: (y.abs() > 1e9).float()))


def test_a_dead_level_is_refused_by_its_name():
    """Every weight of a layer is cut away at the first level."""
    model = Before(lambda x: x)
    state = {n: t.detach().numpy().copy() for n, t in model.state_dict().items()}
    index = np.ones(state["a.weight"].shape, np.uint8)
    nested = NestedCheckpoint(state, {"a.weight": index}, {}, Ladder.from_sparsities([0.99, 0.0]))
    with pytest.raises(ContractError, match="Level s99 does not follow its inputs"):
        export_canonical(nested, model, parse_inputs(["1x8"]))


def test_the_noise_is_measured_in_float64_and_travels_with_the_graph(tmp_path):
    """A sum that cancels is ill-conditioned; its file says by how much, an ordinary network's noise is small."""
    plain = exported(Before(lambda x: x))
    assert all(0.0 <= value < 1e-5 for value in plain.noise["output"])
    rough = exported(Before(lambda x: (x + 3e3) - 3e3))
    assert min(rough.noise["output"]) > 1e-5
    rough.save(tmp_path / "m.onnx")
    loaded = CanonicalGraph.load(tmp_path / "m.onnx")
    assert loaded.noise == rough.noise
    assert loaded.tolerance("output", 1).limit(1.0) == pytest.approx(max(1e-4, 8 * rough.noise["output"][1]))
    assert loaded.copy().with_provenance(a=1).noise == rough.noise


@pytest.mark.parametrize(
    "text", ['{"y": [0.5, 0.0]}', '{"y": [0.0]}', '{"y": 3}', "[1]", "nonsense", '{"y": [-1, 0]}']
)
def test_noise_that_would_excuse_anything_is_refused(tmp_path, text):
    """More than 1 %, another number of levels, or no numbers."""
    graph = exported(Before(lambda x: x))
    graph.save(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    for entry in [e for e in proto.metadata_props if e.key == "elsa_edge.noise"]:
        proto.metadata_props.remove(entry)
    proto.metadata_props.add(key="elsa_edge.noise", value=text)
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ContractError, match="damaged"):
        CanonicalGraph.load(tmp_path / "m.onnx")


def test_real_inputs_are_traced_and_proved_with():
    """Identifiers that start at 1: made-up ones that a later kind holds would do as well, zeros would not."""

    class OneBased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.o = nn.Embedding(20, 8), nn.Linear(8, 4)

        def forward(self, ids):
            return self.o(self.e(ids - 1).mean(1))

    ids = np.arange(1, 16).reshape(3, 5)
    graph = exported(OneBased(), "ids=1x5:int64", examples={"ids": ids})
    assert graph.provenance["proof"]["inputs"] == "given"
    assert run_canonical(graph, {"ids": ids})[0]["output"].shape == (3, 4)


def test_noise_of_whole_numbers_and_zeros():
    """Classes have none; an output of zeros has none; beyond 1 % it is told as it is, and refused later."""
    single = {"y": np.float32([1.0, 2.0]), "class": np.array([1]), "zero": np.zeros(2, np.float32)}
    exact = {"y": np.array([1.0, 2.002]), "class": np.array([2]), "zero": np.zeros(2)}
    assert noise_between(single, exact) == {"y": pytest.approx(1e-3), "zero": 0.0}
    assert noise_between({"y": np.float32([1.0])}, {"y": np.array([9.0])}) == {"y": 8.0}
    assert noise_table([{"y": 0.1}, {"y": 0.2, "z": 0.3}]) == {"y": (0.1, 0.2), "z": (0.0, 0.3)}


def test_jitter_moves_every_weight_by_a_last_place():
    """One or two steps of float32, and shared tensors are not written to."""
    model = exported(Before(lambda x: x)).model
    before = model.graph.initializers["a.weight"].const_value.numpy().copy()
    moved = jittered(model).graph.initializers["a.weight"].const_value.numpy()
    np.testing.assert_array_equal(model.graph.initializers["a.weight"].const_value.numpy(), before)
    assert np.mean(moved != before) > 0.9
    assert np.all(np.abs(moved - before) <= 2 * np.spacing(np.abs(before)))


def test_outputs_that_depend_on_numbers_are_told_from_those_of_shapes():
    """A shape is not a number; what a branch reads from outside counts."""
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[N, 4] x, bool c, int64 level) => (float[N, 4] a, int64[2] s, float[1] k, float[N, 4] b, int64 l)
      <float[1] one = {1.0}> {
        a = Relu(x)
        s = Shape(x)
        k = Identity(one)
        b = If(c) <then_branch = t () => (float[N, 4] p) { p = Add(x, one) },
                   else_branch = e () => (float[N, 4] q) { q = Sub(x, one) }>
        l = Identity(level)
    }"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    assert depending_outputs(model) == {"a", "b"}


def test_vocabularies_are_those_of_the_tables_unless_real_inputs_say_more(canonical):
    """The first axis of the table that is looked up in; ranges of the provenance go first."""
    graph = canonical("recurrent")
    assert vocabularies(graph) == {"tokens": (0, 19)}
    assert vocabularies(graph.with_provenance(ranges={"tokens": [1, 7], "other": [0, 1]})) == {
        "tokens": (1, 7)
    }
