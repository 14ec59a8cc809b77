"""Which sizes of an exported graph are free: the batch, lengths, image sizes, or none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.errors import ExportError, UnknownNameError, UsageError
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.outputs import answering
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec, parse_inputs


def exported(model, shapes, **options):
    """Export a network with two levels."""
    return export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(shapes), **options)


def dense(graph, **inputs):
    """What the densest level answers."""
    return run_canonical(graph, inputs)[-1]


class Branchy(nn.Module):
    """Convolutions whose result is used at half the size, then brought back."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        y = self.a(x)
        return y + nn.functional.interpolate(self.b(y), scale_factor=2.0)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(9, 8), nn.Linear(8, 4)
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, tokens):
        return self.head(self.mix(self.table(tokens)))


class Flat(nn.Module):
    """Works for one sample only: it throws the batch away."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 5)

    def forward(self, x):
        return self.linear(x.reshape(1, 12))


class Heard(nn.Module):
    """A keyword spotter's shape: recurrent layers over as many frames as there are."""

    def __init__(self, layer, batch_first, bidirectional) -> None:
        super().__init__()
        self.cells = layer(4, 8, 2, batch_first=batch_first, bidirectional=bidirectional)
        self.head = nn.Linear(16 if bidirectional else 8, 3)

    def forward(self, x):
        y, state = self.cells(x)
        return self.head(y), state[0] if isinstance(state, tuple) else state


class State(nn.Module):
    """A streaming cell: the batch of a state is its second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x, h):
        y, h = self.cell(x, h)
        return self.head(y), h


class Graph(nn.Module):
    """Messages along edges: no axis is a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, edge_index):
        sent = self.linear(x)[edge_index[0]]
        return torch.zeros_like(x).index_add(0, edge_index[1], sent)


def test_free_image_sizes_are_proved_and_hold_at_others():
    """`1x3xHxW` leaves height and width open; the graph holds at sizes that were not tried."""
    model = Branchy().eval()
    graph = exported(model, ["1x3xHxW"])
    assert graph.inputs["x"].shape == (None, 3, None, None)
    assert graph.inputs["x"].sizes == ("batch", None, "H", "W")
    assert len(graph.provenance["export"]["proved_sizes"]) >= 2
    x = torch.randn(5, 3, 20, 44)
    np.testing.assert_allclose(
        dense(graph, x=x.numpy())["output"], model(x).detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_a_free_sentence_length():
    """`1xS` beside a batch of its own."""
    model = Tokens().eval()
    graph = exported(model, ["tokens=1xS:int64"], sizes={"S": [6, 11]})
    assert graph.provenance["export"]["proved_sizes"] == [{"S": 6}, {"S": 11}]
    tokens = torch.randint(0, 9, (3, 17))
    np.testing.assert_allclose(
        dense(graph, tokens=tokens.numpy())["output"], model(tokens).detach().numpy(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(("batch_first", "bidirectional"), [(True, False), (False, True)])
def test_recurrent_layers_over_a_free_length(layer, batch_first, bidirectional):
    """torch.export alone makes a number of the length of an LSTM; every length is answered as torch does."""
    model = Heard(layer, batch_first, bidirectional).eval()
    shape, given = ("x=1xTx4", (3, 9, 4)) if batch_first else ("x=TxNx4", (9, 3, 4))
    graph = exported(model, [shape], sizes={"T": [6, 11]})
    assert graph.provenance["export"]["batch"] == "free"
    x = torch.randn(given)
    for value, wanted in zip(dense(graph, x=x.numpy()).values(), model(x), strict=True):
        np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_network_for_one_sample_gets_a_fixed_batch():
    """A free batch is tried, a fixed one taken, and both are said."""
    told = []
    graph = exported(Flat(), ["1x3x4"], progress=told.append)
    assert graph.inputs["x"].shape == (1, 3, 4)
    assert graph.inputs["x"].batch_axis is None
    facts = graph.provenance["export"]
    assert facts["batch"] == 1
    assert "fixed at 1, because a free one does not work" in facts["notes"][0]
    assert "x 2x3x4" in facts["notes"][0]
    assert any("trying a batch of 1" in line for line in told)


def test_the_batch_can_be_fixed_on_request():
    """`--batch 4`."""
    graph = exported(nn.Linear(3, 4), ["1x3"], batch=4)
    assert graph.inputs["input"].shape == (4, 3)
    assert graph.provenance["export"]["batch"] == 4


def test_the_batch_of_a_state_stands_where_n_is():
    """`h=1xNx8`."""
    graph = exported(State(), ["x=1x5x4", "h=1xNx8"])
    assert graph.inputs["h"].batch_axis == 1
    assert graph.provenance["export"]["batch"] == "free"


def test_real_inputs_show_where_the_batch_is():
    """The axis in which they differ from what was written."""
    model = State()
    real = {"x": np.ones((3, 5, 4), np.float32), "h": np.ones((1, 3, 8), np.float32)}
    graph = exported(model, ["x=1x5x4", "h=1x1x8"], examples=real)
    assert graph.inputs["h"].batch_axis == 1


def test_real_inputs_replace_random_ones_in_the_trace():
    """Ids that begin at 1 cannot be made up."""

    class OneBased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(20, 8), nn.Linear(8, 4)

        def forward(self, ids):
            return self.head(self.table(ids - 1).mean(1))

    with pytest.raises(ExportError, match="--data"):
        exported(OneBased(), ["1x5:int64"])
    ids = np.arange(1, 16).reshape(3, 5)
    assert exported(OneBased(), ["1x5:int64"], examples={"ids": ids}).inputs["ids"].shape == (None, 5)


def test_a_network_without_a_batch():
    """Nodes and edges are free, and neither is stacked."""
    model = Graph()
    graph = exported(model, ["x=Vx4", "edge_index=2xE:int64"])
    assert [spec.batch_axis for spec in graph.inputs.values()] == [None, None]
    assert graph.provenance["export"]["batch"] == "none"
    assert not any("batch" in note for note in graph.provenance["export"]["notes"])
    x, edges = torch.randn(7, 4), torch.randint(0, 7, (2, 30))
    np.testing.assert_allclose(
        dense(graph, x=x.numpy(), edge_index=edges.numpy())["output"],
        model(x, edges).detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_first_sizes_that_differ_are_no_batch():
    """`x=10x4`, `edge_index=2x30`: one of the two would be cut wrongly."""
    graph = exported(Graph(), ["x=10x4", "edge_index=2x30:int64"])
    assert graph.inputs["edge_index"].shape == (2, 30)
    assert graph.inputs["x"].shape == (10, 4)


def test_a_size_that_no_input_has():
    """The sizes that exist are listed."""
    with pytest.raises(
        UsageError, match=r"no input has a free size 'T'.*Allowed: S|No input has a free size 'T'"
    ):
        exported(Tokens(), ["tokens=1xS:int64"], sizes={"T": [4]})


@pytest.mark.parametrize("text", ["1xSxS", "1xs", "Nx3xN"])
def test_letters_that_are_none(text):
    """A size twice, or a small letter."""
    with pytest.raises(UsageError):
        TensorSpec.parse(text)


class TestOutputs:
    class Detector(nn.Module):
        """Its end depends on values, as a selection of boxes does."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            scores = self.head(self.backbone(x))
            return {"boxes": scores[scores > 0], "scores": scores, "count": 3}

    def test_the_network_is_cut_behind_a_module(self):
        """What stands behind is not traced; the graph is proved equal to the module's result."""
        model = self.Detector()
        graph = exported(model, ["1x4"], outputs=["head", "backbone.1"])
        assert list(graph.outputs) == ["head", "backbone_1"]
        assert "forward" not in vars(model)
        x = torch.randn(3, 4)
        np.testing.assert_allclose(
            dense(graph, x=x.numpy())["head"], model(x)["scores"].detach().numpy(), rtol=1e-4, atol=1e-6
        )

    def test_a_name_that_is_neither(self):
        """Outputs and modules are listed."""
        with pytest.raises(UnknownNameError, match=r"Allowed: .*backbone.*Nearest: 'head'"):
            exported(self.Detector(), ["1x4"], outputs=["haed"])

    def test_names_stand_once(self):
        """Outputs, inputs, weights and inner values share one space of names."""

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 4)
                self.register_buffer("anchors", torch.randn(7, 4))

            def forward(self, x):
                y = self.b(torch.relu(self.a(x)))
                return {
                    "main": y,
                    "aux": y,
                    "anchors": self.anchors * 2,
                    "x": x * 2,
                    "relu": y + 1,
                    "count": 3,
                    "w": self.a.weight,
                }

        graph = exported(Net(), ["1x6"])
        assert list(graph.outputs) == ["main", "aux", "anchors", "x_output", "relu", "w"]
        notes = " ".join(graph.provenance["export"]["notes"])
        assert "count is int and no tensor" in notes
        assert "x is called x_output" in notes

    @pytest.mark.parametrize(
        ("result", "wanted", "names"),
        [
            (lambda y: {"box.1": y, "box_1": y * 2}, (), ("box_1", "box_1_2")),
            (lambda y: {"p": [y, y * 2], "p_0": y * 3}, (), ("p_0", "p_1", "p_0_2")),
            (lambda y: (y, 3, None), (), ("output_0",)),
            (lambda y: y, (), ("output",)),
            (lambda y: {"y": y, "z": y * 2}, ("z",), ("z",)),
            (lambda y: {"y": y, "inner": y * 2}, ("inner",), ("inner",)),
        ],
    )
    def test_names_of_what_forward_returns(self, result, wanted, names):
        """Keys and places; a name that is there already gets a number; an output goes before a module."""

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(3, 4)

            def forward(self, x):
                return result(self.inner(x))

        model, x = Net(), torch.ones(2, 3)
        with answering(model, [x], {}, wanted) as answer:
            assert answer.names == names
            assert len(model(x)) == len(names)
        assert "forward" not in vars(model)

    def test_an_output_called_level(self):
        """The name is reserved."""

        class Net(nn.Linear):
            def forward(self, x):
                return {"level": super().forward(x)}

        with pytest.raises(ExportError, match="reserved"):
            exported(Net(3, 4), ["x=1x3"])
