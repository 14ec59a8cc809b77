"""What a network multiplies with is found by running it, whatever the classes of its layers."""

import numpy as np
import pytest
import torch
from support.zoo import ZOO
from torch import nn

from elsa_edge.errors import UsageError
from elsa_edge.graph.binding import bind_inputs
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.sparsify import sparsify
from elsa_edge.sparsify.coverage import sentences
from elsa_edge.sparsify.products import trace_products
from elsa_edge.sparsify.prunable import find_prunable
from elsa_edge.tensors import TensorSpec, parse_inputs


class Experts(nn.Module):
    """Raw parameters: a mixture of experts, a position table, a projection the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(4, 16, 32))
        self.down = nn.Parameter(torch.randn(4, 32, 16))
        self.positions = nn.Parameter(torch.randn(1, 5, 16))
        self.gate = nn.Linear(16, 4)
        self.mix = nn.Parameter(torch.randn(16, 12))

    def forward(self, x):
        x = x + self.positions
        h = torch.relu(torch.einsum("bti,eio->bteo", x, self.up))
        y = torch.einsum("bteo,eoi->btei", h, self.down)
        return (y * torch.softmax(self.gate(x), -1)[..., None]).sum(2) @ self.mix


class Changed(nn.Module):
    """A weight whose numbers are changed before the product, and one that only moves."""

    def __init__(self) -> None:
        super().__init__()
        self.normalised = nn.Parameter(torch.randn(8, 16))
        self.moved = nn.Parameter(torch.randn(8, 16))

    def forward(self, x):
        return x @ (self.normalised / self.normalised.norm()).t() + x @ self.moved.t().contiguous()


class Conv1D(nn.Module):
    """The layer of transformers' GPT-2, by its name and its attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.nf = 6
        self.weight = nn.Parameter(torch.randn(4, 6))
        self.bias = nn.Parameter(torch.zeros(6))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_torch_s_own_layers_are_all_found(name):
    """Each weight that is known by its class is multiplied with, in the same orientation."""
    entry = ZOO[name]
    model = entry.make()
    binding = bind_inputs(model, entry.inputs)
    products = trace_products(model, *binding.arguments(example_inputs(binding.inputs, 2)))
    ran = [weight for weight in find_prunable(model) if not weight.name.startswith("unused")]
    assert {weight.name for weight in ran} <= set(products.found)
    for weight in ran:
        product = products.found[weight.name]
        assert (product.kind, product.groups) == (
            (weight.kind, weight.groups) if weight.kind.startswith("conv") else ("linear", 1)
        )
    assert products.multiply_adds >= sum(product.multiply_adds for product in products.found.values())


def test_raw_parameters_are_weights_and_tables_are_not():
    """Einsum and matmul make a weight; an addition does not, and says so."""
    model = Experts()
    x = {"x": torch.randn(3, 5, 16)}
    nested = sparsify(model, [0.5, 0.0], example=x)
    assert set(nested.indices) == {"up", "down", "gate.weight", "mix"}
    assert nested.provenance["coverage"]["multiply_adds"] == 1.0
    assert nested.densities == pytest.approx((0.5, 1.0), abs=0.01)
    without = sparsify(Experts(), [0.5, 0.0])
    assert set(without.indices) == {"gate.weight"}
    assert any("up" in line and "--input-shape" in line for line in sentences(without.provenance["coverage"]))


@pytest.mark.parametrize("granularity", ["unstructured", "block", "2:4"])
def test_every_granularity_works_on_raw_parameters_and_the_graph_is_exact(granularity):
    """Rows are output channels whatever the layout; export proves the levels equal to torch."""
    model = Experts()
    nested = sparsify(model, [0.5, 0.0], example={"x": torch.randn(3, 5, 16)}, granularity=granularity)
    weight = next(
        w for w in find_prunable(model, trace_products(model, [torch.randn(2, 5, 16)])) if w.name == "up"
    )
    assert weight.kind == "linear_in_out"
    back = weight.from_rows(weight.rows(model.up.detach()))
    assert torch.equal(back, model.up.detach())
    assert weight.row_shape == (4 * 32, 16)
    if granularity == "2:4":
        mask = torch.from_numpy((nested.indices["up"] == 0).astype(np.int64))
        assert torch.all(weight.rows(mask).reshape(-1, 4).sum(1) == 2)
    graph = export_canonical(nested, model, [TensorSpec("x", (1, 5, 16))])
    assert set(graph.nested) == {"up", "down", "gate.weight", "mix"}


def test_numbers_that_are_changed_on_the_way_are_no_weight():
    """Zeros of a normalised parameter change every product; moving and copying does not."""
    products = trace_products(Changed(), [torch.randn(3, 16)])
    assert set(products.found) == {"moved"}
    assert "no product" in products.reasons["normalised"]


def test_transformers_conv1d_is_known_by_its_class():
    """GPT-2 consists of it; no run is needed."""
    model = nn.Sequential(Conv1D())
    nested = sparsify(model, [0.5, 0.0], granularity="channel", include=["0.weight"])
    assert np.all(np.ptp(nested.indices["0.weight"], axis=0) == 0)
    export_canonical(nested, model, [TensorSpec("", (1, 4))])


def test_a_network_without_products_says_how_to_look():
    """The error names the option that starts a run."""
    with pytest.raises(UsageError, match="--input-shape"):
        sparsify(Changed(), [0.5, 0.0])


class TiedAttention(nn.Module):
    """Scores of tokens among each other, and a head that is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.key = nn.Embedding(12, 8), nn.Linear(8, 8, bias=False)

    def forward(self, tokens):
        x = self.table(tokens)
        scores = self.key(x) @ x.transpose(1, 2)
        return (scores @ x) @ self.table.weight.T


def test_work_without_weights_and_tied_heads_are_told_apart():
    """For 6 tokens of 8 numbers: 6*8*8 of the layer, twice 6*6*8 of activations, 6*8*12 of the head."""
    nested = sparsify(TiedAttention(), [0.5, 0.0], example={"tokens": torch.randint(0, 12, (1, 6))})
    found = nested.provenance["coverage"]
    total = 6 * 8 * 8 + 2 * 6 * 6 * 8 + 6 * 8 * 12
    assert found["multiply_adds"] == pytest.approx(6 * 8 * 8 / total)
    assert found["activation_multiply_adds"] == pytest.approx(2 * 6 * 6 * 8 / total)
    (dense,) = found["dense"]
    assert dense["name"] == "table.weight"
    assert dense["reason"] == "it is an embedding, and the head that is tied to it"
    assert any("of activations with each other" in line for line in sentences(found))


def test_an_embedding_is_nested_where_it_is_asked_for():
    """By its name, not by `*`; with its tied head, and exact at every level."""
    torch.manual_seed(0)
    model, example = TiedAttention(), {"tokens": torch.randint(0, 12, (1, 6))}
    assert list(sparsify(model, [0.5, 0.0], include=["*"], example=example).indices) == ["key.weight"]
    nested = sparsify(model, [0.5, 0.0], include=["*", "table.*"], example=example)
    assert sorted(nested.indices) == ["key.weight", "table.weight"]
    share = nested.provenance["coverage"]
    assert share["multiply_adds"] + share["activation_multiply_adds"] == pytest.approx(1.0)
    graph = export_canonical(nested, model, parse_inputs(["tokens=1x6:int64"]))
    assert sorted(graph.nested) == ["key.weight", "table.weight"]
