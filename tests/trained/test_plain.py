"""Weights that are computed from others become plain parameters; the network computes what it computed."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from elsa_edge.errors import CheckpointError
from elsa_edge.sparsify import sparsify
from elsa_edge.trained import plain_network


class Doubled(nn.Module):
    """A user's own parametrization."""

    def forward(self, weight):
        return 2 * weight


def masked(layer):
    prune.random_unstructured(layer, "weight", 0.5)
    return layer


def own(layer):
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


KINDS = {
    "weight_norm": parametrizations.weight_norm,
    "old weight_norm": torch.nn.utils.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old spectral_norm": torch.nn.utils.spectral_norm,
    "prune": masked,
    "own": own,
}


def network(kind):
    torch.manual_seed(0)
    return nn.Sequential(KINDS[kind](nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 4)).eval()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_folding_keeps_the_function_and_every_layer_is_nested(kind):
    """The state_dict has plain names, outputs are the same, and the ladder counts all layers."""
    x = torch.randn(5, 6)
    model = network(kind)
    with torch.no_grad():
        before = model(x)
        plain = plain_network(model)
        torch.testing.assert_close(plain(x), before)
    assert set(plain.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    nested = sparsify(network(kind), [0.5, 0.0])
    assert set(nested.indices) == {"0.weight", "2.weight"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrappers_come_off_inside_too():
    """torch.compile around a submodule leaves no trace in the names."""
    model = nn.Sequential(torch.compile(nn.Linear(3, 4)), nn.Linear(4, 2))
    assert set(plain_network(model).state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_networks_without_layers_to_tell_apart_are_refused():
    """A lazy layer has no weights yet; a script has no modules of torch's classes."""
    with pytest.raises(CheckpointError, match="no shape yet"):
        plain_network(nn.Sequential(nn.LazyLinear(4)))
    with pytest.raises(CheckpointError, match="TorchScript program"):
        plain_network(torch.jit.script(nn.Sequential(nn.Linear(3, 4))))
