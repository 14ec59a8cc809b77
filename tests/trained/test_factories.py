"""What a factory returns: wrapped, compiled, halved or unusual networks take a plain checkpoint, or say why not."""

from __future__ import annotations

import pytest
import torch
from support import nets
from torch import nn

from elsa_edge.errors import CheckpointError
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import parse_inputs
from elsa_edge.trained import load_dense, plain_network


def state():
    torch.manual_seed(1)
    return nets.Conv().state_dict()


def compiled_part():
    model = nets.Conv()
    model.conv1 = torch.compile(model.conv1)
    return model


FACTORIES = {
    "compiled": lambda: torch.compile(nets.Conv()),
    "a compiled part": compiled_part,
    "half precision": lambda: nets.Conv().half(),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(nets.Conv()),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FACTORIES)
def test_a_plain_checkpoint_fits_every_form_of_the_network(name, tmp_path):
    """And the network inside has three weights that can be nested."""
    torch.save(state(), tmp_path / "c.pt")
    model = FACTORIES[name]()
    load_dense(model, tmp_path / "c.pt")
    network = plain_network(model)
    numbers = {key.removeprefix("module."): tensor for key, tensor in network.state_dict().items()}
    assert torch.equal(numbers["head.weight"], state()["head.weight"])
    assert len(sparsify(network, [0.5]).indices) == 3


def test_an_averaged_network_takes_its_own_checkpoint(tmp_path):
    """The file of an AveragedModel into the factory of one."""
    source = torch.optim.swa_utils.AveragedModel(nets.Conv())
    torch.save(source.state_dict(), tmp_path / "c.pt")
    model = FACTORIES["averaged"]()
    load_dense(model, tmp_path / "c.pt")
    assert torch.equal(model.module.head.weight, source.module.head.weight)


def test_layers_without_shapes_are_told(tmp_path):
    """A lazy module has its weights only after a run."""
    torch.save(state(), tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"0\.weight has no shape yet.*run the network once"):
        load_dense(nn.Sequential(nn.LazyLinear(4)), tmp_path / "c.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program_is_no_network():
    """Its layers cannot be told apart."""
    with pytest.raises(CheckpointError, match=r"TorchScript program.*before torch\.jit\.script"):
        plain_network(torch.jit.script(nn.Sequential(nn.Linear(2, 2))))


class Outer(nn.Module):
    """A network with another one inside and a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.extra = nets.Conv(), nn.Linear(3, 3)


def test_a_checkpoint_of_a_part_names_what_is_missing(tmp_path):
    """A prefix that explains most names does not hide the others."""
    torch.save({"model." + name: tensor for name, tensor in state().items()}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"missing: extra\.weight, extra\.bias"):
        load_dense(Outer(), tmp_path / "c.pt")


class Complex(nn.Module):
    """A buffer of complex numbers beside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("phase", torch.tensor([1 + 2j, 3j]))


def test_complex_buffers_stay_complex(tmp_path):
    """Where the network's own tensor is complex, too."""
    torch.save(Complex().state_dict() | {"phase": torch.tensor([5j, 6 + 1j])}, tmp_path / "c.pt")
    model = Complex()
    load_dense(model, tmp_path / "c.pt")
    assert torch.equal(model.phase, torch.tensor([5j, 6 + 1j]))


class Extra(nn.Module):
    """A network that saves more than tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x):
        """Return the layer's answer."""
        return self.layer(x)

    def get_extra_state(self):
        """Return what is no tensor."""
        return {"calls": self.calls}

    def set_extra_state(self, state):
        """Take it back."""
        self.calls = state["calls"]


def test_extra_state_is_left_alone_and_told(tmp_path):
    """The network goes the whole way without it."""
    torch.manual_seed(0)
    source = Extra()
    torch.save(source.state_dict(), tmp_path / "c.pt")
    model = Extra()
    notes = load_dense(model, tmp_path / "c.pt")
    assert any("_extra_state" in note and "not loaded" in note for note in notes)
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(["x=1x4"]))
    x = torch.randn(2, 4)
    answer = run_canonical(graph, {"x": x.numpy()})[-1]
    torch.testing.assert_close(torch.from_numpy(next(iter(answer.values()))), source(x).detach())


class Versioned(nn.Linear):
    """A layer that asks which version of itself a state_dict was saved by, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        assert local_metadata.get("version") == 2
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_modules_that_ask_for_a_version_get_it(tmp_path):
    """When a checkpoint is loaded, and when levels are put into the network."""
    model = nn.Sequential(Versioned(4, 3))
    torch.save({"0.weight": torch.ones(3, 4), "0.bias": torch.zeros(3)}, tmp_path / "c.pt")
    load_dense(model, tmp_path / "c.pt")
    assert bool((model[0].weight == 1).all())
    graph = export_canonical(sparsify(model, [0.5, 0.0]), model, parse_inputs(["1x4"]))
    assert len(graph.ladder) == 2
