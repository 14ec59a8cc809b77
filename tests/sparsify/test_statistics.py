"""BatchNorm's statistics of a level: plain moments, and those carried over from the dense network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from elsa_edge.errors import InputError
from elsa_edge.sparsify import sparsify
from elsa_edge.sparsify.statistics import dense_norms, reestimate


class Twice(nn.Module):
    """One BatchNorm that is called twice, behind two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise both layers by the same numbers."""
        return self.norm(self.second(self.norm(self.first(x)).relu()))


def _settled(seed: int) -> tuple[nn.Module, torch.Tensor]:
    """Return a network whose statistics fit its inputs."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5)
    ).eval()
    usual = torch.randn(64, 3, 9, 9)
    reestimate(model, [((usual,), {})])
    return model, usual


def test_plain_statistics_are_the_average_of_the_batches_as_torch_has_them():
    """Without a dense network they are what BatchNorm gathers in training with momentum None."""
    model, usual = _settled(0)
    batches = [((part,), {}) for part in torch.split(usual, 20)]
    expected = copy.deepcopy(model)
    for norm in (expected[1], expected[4]):
        norm.reset_running_stats()
        norm.momentum = None
        norm.training = True
    with torch.no_grad():
        for (part,), _ in batches:
            expected(part)
    found = reestimate(model, batches)
    assert sorted(found) == [f"{n}.running_{part}" for n in "14" for part in ("mean", "var")]
    # torch normalises a batch by its biased variance while it gathers the unbiased one: the second layer sees that.
    for name, value in found.items():
        assert value == pytest.approx(expected.state_dict()[name].numpy(), rel=5e-3, abs=1e-3)
    assert not model[1].training
    assert int(model[1].num_batches_tracked) == 0


@given(st.integers(0, 50), st.floats(0.2, 5.0), st.floats(-3.0, 3.0))
def test_an_uncut_network_keeps_its_statistics_on_any_inputs(seed, scale, shift):
    """What the inputs are off cancels out: three images of another scale change nothing."""
    model, _ = _settled(seed)
    few = [((scale * torch.randn(3, 3, 9, 9) + shift,), {})]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reestimate(model, few, dense_norms(model, few))
    for name, value in model.state_dict().items():
        assert value.numpy() == pytest.approx(before[name].numpy(), rel=1e-4, abs=1e-5)


def test_a_level_is_put_right_by_inputs_that_the_network_never_saw():
    """A layer at half its size on shifted inputs: the statistics become what usual inputs would have given."""
    model, usual = _settled(1)
    level = copy.deepcopy(model)
    with torch.no_grad():
        level[0].weight.mul_(0.5)
        level[0].bias.mul_(0.5)
        level[3].weight[:, :3] = 0.0
    unusual = [((0.3 * torch.randn(40, 3, 9, 9) + 0.5,), {})]
    carried, plain, best = (copy.deepcopy(level) for _ in range(3))
    reestimate(carried, unusual, dense_norms(model, unusual))
    reestimate(plain, unusual)
    reestimate(best, [((usual,), {})])
    with torch.no_grad():
        wanted = best(usual)
        errors = [float((found(usual) - wanted).square().mean()) for found in (carried, plain)]
    assert carried[1].running_var.numpy() == pytest.approx(best[1].running_var.numpy(), rel=5e-3)
    assert errors[0] < 0.2 * errors[1]


def test_a_silent_channel_puts_out_what_the_dense_one_does_on_average():
    """All weights of a channel cut: no division by its variance of zero, and a mean that the next layer knows."""
    model, usual = _settled(2)
    level = copy.deepcopy(model)
    with torch.no_grad():
        level[0].weight[2] = 0.0
    batches = [((usual,), {})]
    reestimate(level, batches, dense_norms(model, batches))
    with torch.no_grad():
        found, expected = level[:2](usual)[:, 2], model[:2](usual)[:, 2]
    assert float(found.std()) == pytest.approx(0.0, abs=1e-6)
    assert float(found.mean()) == pytest.approx(float(expected.mean()), abs=1e-2)


def test_a_norm_that_is_called_twice_is_compared_call_by_call():
    """The uncut network keeps its numbers although both calls are given other things."""
    torch.manual_seed(0)
    model = Twice().eval()
    batches = [((torch.randn(32, 6),), {})]
    reestimate(model, batches)
    before = model.norm.running_mean.clone()
    found = reestimate(model, batches, dense_norms(model, batches))
    assert np.allclose(found["norm.running_mean"], before, atol=1e-5)


def test_nothing_to_estimate_on_is_refused():
    """No batch, and inputs that do not fit."""
    model, _ = _settled(3)
    with pytest.raises(InputError, match="no batch"):
        dense_norms(model, [])
    with pytest.raises(InputError, match="does not take these inputs"):
        reestimate(model, [((torch.zeros(2, 4, 9, 9),), {})])


def test_data_unlike_the_networks_is_warned_of_and_nan_is_refused():
    """255 times as large: said beside the levels; usual data is not spoken of."""
    model, usual = _settled(4)
    notes = {
        factor: sparsify(model, [0.5], data=factor * usual).provenance["notes"] for factor in (1.0, 255.0)
    }
    assert not any("unlike" in note for note in notes[1.0])
    assert any("unlike what the network was trained on" in note for note in notes[255.0])
    usual[60, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="NaN or infinity"):
        sparsify(model, [0.5], data=usual)


@pytest.mark.parametrize("factor", [1e4, 1e6])
def test_an_uncut_network_keeps_its_statistics_on_inputs_of_a_huge_scale(factor):
    """Means that nearly cancel are subtracted in double precision."""
    model, usual = _settled(5)
    before = {n: b.clone() for n, b in model.named_buffers() if b.is_floating_point()}
    batches = [((factor * usual,), {})]
    found = reestimate(model, batches, dense_norms(model, batches))
    for name, value in found.items():
        assert value == pytest.approx(before[name].numpy(), rel=1e-5, abs=1e-5)


def test_a_last_batch_of_one_joins_the_batch_before_it():
    """A single vector has no variance; a DataLoader without drop_last makes such batches."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)).eval()
    x = torch.randn(9, 4)
    found = sparsify(model, [0.5], data=[x[:4], x[4:8], x[8:]]).tables
    expected = sparsify(model, [0.5], data=[x[:4], x[4:]]).tables
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", ["float16", "float64", "uint8"])
def test_floating_inputs_become_the_networks_and_whole_numbers_are_named(kind):
    """Half and double precision are taken; bytes may be meant for a table, so the answer names them."""
    model, usual = _settled(6)
    data = {"input": (usual * 9).numpy().astype(kind)}
    if kind == "uint8":
        with pytest.raises(InputError, match=r"uint8 \(64, 3, 9, 9\)"):
            sparsify(model, [0.5], data=data)
    else:
        assert sparsify(model, [0.5], data=data).tables


def test_whatever_a_network_raises_is_said_as_a_fault_of_the_inputs():
    """A KeyError of its own code too."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Raise."""
            raise KeyError("mine")

    with pytest.raises(InputError, match="KeyError: 'mine'"):
        sparsify(Odd(), [0.5], data=torch.zeros(8, 4))


class _Two(nn.Module):
    """Takes two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, image: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Add them."""
        return self.layer(image + vector)


@pytest.mark.parametrize("data", [{"image": np.zeros((8, 4))}, {"x": np.zeros((8, 4))}, np.zeros((8, 4))])
def test_a_missing_input_is_named(data):
    """What the network takes stands beside what there is."""
    with pytest.raises(InputError, match=r"vector\): expected arrays named image, vector"):
        sparsify(_Two(), [0.5], data=data)
