"""The joint trainer and rerouting:

nested masks, a loss a level, tables a level, levels that fall along the depth.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import nets
from torch.nn.functional import cross_entropy

from elsa_edge.errors import ElsaError, LevelError, UsageError
from elsa_edge.training import JointLevels, Nesting
from elsa_edge.training.flops import flops_fractions
from elsa_edge.training.rerouting import layer_order, rerouted_state, switch_vectors


def batches(count):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(8, 1, 8, 8, generator=generator), torch.randint(0, 10, (8,), generator=generator))
        for _ in range(count)
    ]


def train(joint, steps, closure=None):
    optimizer = torch.optim.SGD(joint.parameters(), lr=0.05, momentum=0.9)
    joint.attach(optimizer)
    for x, y in batches(steps):
        optimizer.zero_grad()
        joint.backward(lambda x=x, y=y: (cross_entropy(out := joint.model(x), y), out))
        optimizer.step()


@pytest.mark.parametrize(
    "options", [{}, {"distillation": 0.5, "switch_points": True}, {"nesting": Nesting(granularity="channel")}]
)
def test_levels_nest_and_the_checkpoint_computes_what_training_saw(options):
    """Densities are exact, each level's logits from the checkpoint are those of the network in training."""
    model = nets.Conv()
    joint = JointLevels(model, [0.8, 0.4], steps=10, **options)
    train(joint, 10)
    checkpoint = joint.checkpoint()
    if not options.get("nesting"):
        total = sum(index.size for index in checkpoint.indices.values())
        assert checkpoint.densities == tuple(round((1 - s) * total) / total for s in (0.8, 0.4))
    assert checkpoint.tables["bn2.running_mean"].shape == (2, 16)
    x = batches(1)[0][0]
    fresh = nets.Conv().eval()
    for level in range(2):
        with joint.at_level(level), torch.no_grad():
            expected = model.eval()(x)
        fresh.load_state_dict(
            {n: torch.from_numpy(np.array(a)) for n, a in checkpoint.at_level(level).items()}
        )
        with torch.no_grad():
            assert torch.equal(fresh(x), expected)


def test_gradients_are_the_weighted_sum_over_levels():
    """A shared weight's gradient is the sum of the levels' masked gradients; each table row has its own."""
    model = nets.Conv()
    joint = JointLevels(model, [0.5, 0.0], steps=1, end=1.0, weights=[0.25, 0.75])
    joint.step = 1
    joint._refresh_masks()
    x, y = batches(1)[0]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    joint.backward(lambda: cross_entropy(model(x), y))
    expected = torch.zeros_like(model.conv2.weight)
    for level, share in ((0, 0.25), (1, 0.75)):
        other = nets.Conv()
        other.load_state_dict(state)
        masks = joint.masks[level]
        with torch.no_grad():
            for name, mask in masks.items():
                other.get_parameter(name).mul_(mask)
        cross_entropy(other(x), y).backward()
        expected += share * other.conv2.weight.grad * masks["conv2.weight"]
        assert torch.allclose(
            joint._tables["bn2.weight"].grad[level], share * other.bn2.weight.grad, atol=1e-6
        )
    assert torch.allclose(model.conv2.weight.grad, expected, atol=1e-6)
    assert all(torch.equal(state[n], t) for n, t in model.state_dict().items() if not n.endswith("tracked"))


def test_a_rerouted_network_takes_each_layer_from_its_level():
    """The state of (1, 0, 0) has the first layer and its norm at level 1, the rest at level 0."""
    model = nets.Conv()
    joint = JointLevels(model, [0.8, 0.4], steps=4, switch_points=True)
    train(joint, 4)
    checkpoint = joint.checkpoint()
    order = layer_order(model, joint.partition.nested)
    assert [group[0] for group in order] == ["conv1.weight", "conv2.weight", "head.weight"]
    assert switch_vectors(3, 1, 0) == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]
    state, high, low = (
        rerouted_state(checkpoint, order, [1, 0, 0]),
        checkpoint.at_level(1),
        checkpoint.at_level(0),
    )
    for name in ("conv1.weight", "bn1.running_mean", "conv1.bias"):
        assert np.array_equal(state[name], high[name])
    for name in ("conv2.weight", "bn2.weight", "head.bias"):
        assert np.array_equal(state[name], low[name])
    fresh = nets.Conv().eval()
    fresh.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()})
    x = batches(1)[0][0]
    with joint.rerouted([1, 0, 0]), torch.no_grad():
        assert torch.equal(model.eval()(x), fresh(x))
    with pytest.raises(LevelError, match="must not rise"):
        rerouted_state(checkpoint, order, [0, 1, 1])
    with pytest.raises(LevelError, match="One level a layer"):
        rerouted_state(checkpoint, order, [0, 0])
    with pytest.raises(LevelError, match="no such level"):
        rerouted_state(checkpoint, order, [2, 0, 0])


def test_flops_count_how_often_a_weight_is_used():
    """Convolutions weigh their output's size, linear layers once a sample, recurrent weights once a time step."""
    model = nets.Conv()
    indices = {"conv2.weight": np.full((16, 8, 3, 3), 1, np.uint8)}
    conv1, conv2, head = 8 * 9 * 64, 16 * 8 * 9 * 16, 160
    expected = ((conv1 + head) / (conv1 + conv2 + head), 1.0)
    assert flops_fractions(model, (torch.zeros(3, 1, 8, 8),), indices, 2) == pytest.approx(expected)
    zoo = nets.Zoo()
    indices = {"gru.weight_ih_l0": np.full((24, 16), 1, np.uint8)}
    low, high = flops_fractions(zoo, (torch.zeros(2, 6, dtype=torch.int64),), indices, 2)
    assert low < high == 1.0


def test_mistakes_are_told():
    """Wrong weights, a foreign optimiser, missing logits, NaN, too few steps."""
    model = nets.Conv()
    with pytest.raises(UsageError, match="one weight of at least 0 a level"):
        JointLevels(model, [0.5, 0.0], steps=3, weights=[1.0])
    with pytest.raises(UsageError, match="no allocation 'erk' with it"):
        JointLevels(model, [0.5, 0.0], steps=3, nesting=Nesting(granularity="2:4", allocation="erk"))
    with pytest.raises(UsageError, match="no setting 'init'"):
        JointLevels(model, [0.5, 0.0], steps=3, nesting=Nesting(init="zero"))
    joint = JointLevels(model, [0.5, 0.0], steps=3, distillation=1.0)
    with pytest.raises(UsageError, match=r"Make it from joint\.parameters"):
        joint.attach(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(UsageError, match="Distillation needs logits"):
        joint.backward(lambda: model(batches(1)[0][0]).sum())
    with pytest.raises(UsageError, match="have not reached the ladder"):
        joint.checkpoint()
    plain = JointLevels(model, [0.5, 0.0], steps=3)
    with pytest.raises(ElsaError, match="NaN"):
        plain.backward(lambda: model(batches(1)[0][0]).sum() * torch.nan)
    assert all(parameter.grad is None for parameter in plain.parameters())
