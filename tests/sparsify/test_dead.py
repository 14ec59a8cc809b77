"""Levels that do not follow their inputs any more are refused where inputs are at hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.errors import ContractError
from elsa_edge.sparsify import sparsify


def network(bias: float) -> nn.Sequential:
    """Return a network whose first layer is silent behind its ReLU when few of its weights are left."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    with torch.no_grad():
        model[0].weight.abs_().clamp_(0.2, 0.4)
        model[0].bias.fill_(bias)
    return model


DATA = {"input": np.random.default_rng(0).uniform(0.5, 1.0, (20, 8)).astype(np.float32)}


@pytest.mark.parametrize("given", ["data", "example"])
def test_a_level_that_stands_still_is_refused(given):
    """Its name, and the dense network's numbers as they were."""
    model = network(-0.9)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    with pytest.raises(ContractError, match="Level s90 does not follow its inputs any more"):
        sparsify(model, [0.9, 0.0], **{given: DATA})

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_level_that_still_moves_is_not():
    """However little is left: that is for repair. Without inputs nothing is run."""
    assert sparsify(network(0.0), [0.9, 0.0], data=DATA).ladder[0].name == "s90"
    assert sparsify(network(-0.9), [0.9, 0.0]).ladder[0].name == "s90"
