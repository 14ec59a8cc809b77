"""Scores by what the outputs lose: against the information that can be written down, and without side effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import nets
from torch import nn

from elsa_edge.errors import InputError, UsageError
from elsa_edge.sparsify import sparsify
from elsa_edge.sparsify.data import batches_of
from elsa_edge.sparsify.fisher import fisher_scores
from elsa_edge.sparsify.prunable import find_prunable


def scores_of(model, inputs):
    generator = torch.Generator().manual_seed(0)
    return fisher_scores(model, find_prunable(model), batches_of(model, inputs), generator)


def test_scores_of_a_softmax_are_its_fisher_information():
    """For logits W x the information is E[x_i^2 p_c (1 - p_c)]; sampled answers come near it, up to a factor."""
    torch.manual_seed(1)
    model = nn.Linear(6, 5)
    inputs = torch.randn(4096, 6) * torch.tensor([0.2, 0.5, 1.0, 1.5, 2.0, 3.0])
    shares = torch.softmax(model(inputs), 1).detach()
    exact = ((shares * (1 - shares)).T @ inputs.square() / len(inputs)) * model.weight.detach().square()
    found = scores_of(model, inputs)["weight"]

    ratio = found / exact
    assert float(ratio.std() / ratio.mean()) < 0.25
    assert float(ratio.mean()) * 32 / 128 == pytest.approx(1.0, rel=0.1)  # summed over 128 batches of 32


def test_scoring_leaves_the_network_as_it_was():
    """Numbers, gradients, modes and what requires gradients are as before; the same seed gives the same scores."""
    model = nets.Conv().train()
    model.head.bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = np.random.default_rng(0).normal(size=(40, 1, 8, 8))
    first, second = scores_of(model, inputs), scores_of(model, inputs)

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert model.conv1.weight.requires_grad
    assert not model.head.bias.requires_grad
    assert model.conv1.weight.grad is None


def test_outputs_that_are_not_classes_are_scored_too():
    """Two outputs, one of them four numbers that are no classes: every weight has a finite, positive total."""
    scores = scores_of(nets.HeadFirst(), torch.randn(64, 8, 8))
    assert all(float(score.sum()) > 0 for score in scores.values())


def test_what_cannot_be_scored_is_said():
    """Without data there is nothing to score by; a layer that the outputs do not need has no score."""

    class Idle(nets.Conv):
        def forward(self, x):
            return super().forward(x) + 0.0 * self.unused(x.flatten(1))

        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(64, 10)

    with pytest.raises(UsageError, match="Give --data"):
        sparsify(nets.Conv(), [0.5, 0.0], method="fisher")
    with pytest.raises(InputError, match=r"unused\.weight"):
        sparsify(Idle(), [0.5, 0.0], method="fisher", data=torch.randn(32, 1, 8, 8))


def test_no_layer_starves_in_the_global_pool():
    """A layer of tiny weights keeps a tenth of the density all the same, and a sentence says who keeps little."""
    model = nets.Conv()
    with torch.no_grad():
        model.conv2.weight.mul_(1e-4)
    for granularity, sparsity in (("channel", 0.5), ("unstructured", 0.8)):
        cut = sparsify(model, [sparsity, 0.0], granularity=granularity)
        share = float((cut.indices["conv2.weight"] == 0).mean())
        assert share >= 0.1 * (1 - sparsity) - 1 / 16
        assert share > 0
    assert any("conv2.weight" in note and "far less" in note for note in cut.provenance["notes"])


def test_channels_that_stay_are_told_by_their_number():
    """Cut by channels, the sentence counts them: one of sixteen is what a person can picture."""
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(16 * 16, 4))
    with torch.no_grad():
        model[0].weight.mul_(1e-4)
    cut = sparsify(model, [0.7, 0.0], granularity="channel", data=torch.randn(32, 1, 8, 8))
    assert any("0.weight 1 of 16 channels" in note for note in cut.provenance["notes"]), cut.provenance[
        "notes"
    ]


def test_a_weight_that_a_pattern_leaves_out_is_told_as_such():
    """Not as one whose layer is unknown."""
    from elsa_edge.sparsify.coverage import sentences

    cut = sparsify(nets.Conv(), [0.5, 0.0], exclude=["conv2*"])
    told = sentences(cut.provenance["coverage"])
    assert any("conv2.weight" in line and "--exclude leaves it out" in line for line in told), told
