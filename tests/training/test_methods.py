"""The papers' methods, held to published numbers and to their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import nets
from torch import nn
from torch.nn.functional import cross_entropy

from elsa_edge.errors import CheckpointError, UsageError
from elsa_edge.training import (
    ACDC,
    ASNI,
    HALO,
    SET,
    SNIP,
    SRSTE,
    CompressedInit,
    GradualMagnitude,
    Nesting,
    RigL,
    elsa_stages,
)
from elsa_edge.training.sparsifiers.base import cubic


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 1, 8, 8, generator=generator), torch.randint(0, 10, (8,), generator=generator)


def first_stage(sparsifier, sparsity=0.8, granularity="unstructured", make=nets.Conv):
    stages = elsa_stages(
        make(), [sparsity, 0.0], sparsifier=sparsifier, nesting=Nesting(granularity=granularity)
    )
    stage = next(iter(stages))
    optimizer = torch.optim.SGD(stages.model.parameters(), lr=0.05, momentum=0.9)
    stage.attach(optimizer)

    def step(seed):
        optimizer.zero_grad()
        cross_entropy(stages.model(batch(seed)[0]), batch(seed)[1]).backward()
        optimizer.step()

    return stages, stage, step


def test_gradual_magnitude_has_the_published_schedule():
    """s_i = 0.05, s_f = 0.9 over 50 steps: the figures of the reference."""
    figures = [cubic(t / 50, 0.9, 0.05) for t in (0, 10, 20, 30, 40, 50)]
    assert figures == pytest.approx([0.05, 0.4648, 0.7164, 0.8456, 0.8932, 0.9], abs=5e-5)


def test_gradual_magnitude_never_brings_a_weight_back():
    """Sparsity only rises, to the target at `end`, and stays."""
    _, stage, step = first_stage(GradualMagnitude(10, end=0.6, every=1))
    before, densities = None, []
    for number in range(10):
        step(number)
        mask = stage.context.active["conv2.weight"].clone()
        assert before is None or not (mask & ~before).any()
        before = mask
        densities.append(stage.density)
    assert densities == sorted(densities, reverse=True)
    assert densities[5] == densities[-1] == pytest.approx(0.2, abs=1e-3)


def test_asni_gives_the_authors_golden_vector():
    """VGG11, M = 97, c = 16, E = 160:

    living weights after five epochs, within two weights of the author's log.
    """
    sparsifier = ASNI(160, 1, width=16, maximum=0.97, paper_exact=True)
    alive, seen = 9_222_848, {}
    for epoch in range(160):
        alive = sparsifier.alive_after(epoch, alive)
        seen[epoch + 1] = alive
    biases_and_norms = 9_231_114 - 9_222_848
    golden = {12: 9_171_239, 48: 8_304_846, 84: 4_383_591, 120: 1_013_894, 160: 352_111}
    found = {epoch: seen[epoch] + biases_and_norms for epoch in golden}
    assert all(abs(found[epoch] - golden[epoch]) <= 2 for epoch in golden), found


def test_asni_prunes_whole_epochs_and_keeps_its_own_count():
    """In training, paper_exact removes exactly the program's number of weights after each epoch."""
    sparsifier = ASNI(6, 2, width=1.0, maximum=0.7, paper_exact=True)
    stages, stage, step = first_stage(sparsifier)
    reference = ASNI(6, 2, width=1.0, maximum=0.7, paper_exact=True)
    alive = sum(weight.size for weight in stages.partition.nested)
    for epoch in range(6):
        step(0)
        step(1)
        alive = reference.alive_after(epoch, alive)
        assert sum(int(m.sum()) for m in stage.context.active.values()) == alive
    with pytest.raises(UsageError, match="belong together"):
        ASNI(6, 2, paper_exact=True)


def test_asni_two_keeps_two_numbers_a_layer(tmp_path):
    """c- and c+ are the means of the negative and the positive weights;

    the file holds them, masks and signs.
    """
    model = nets.Conv()
    with torch.no_grad():
        for weight in (model.conv2.weight, model.head.weight):
            weight.mul_(torch.rand_like(weight) > 0.7)
    trained = {
        "conv2.weight": model.conv2.weight.detach().numpy(),
        "head.weight": model.head.weight.detach().numpy(),
    }
    start = CompressedInit.of(trained)
    weight = trained["conv2.weight"]
    assert start.centres["conv2.weight"] == pytest.approx(
        (weight[weight < 0].mean(), weight[weight > 0].mean())
    )
    start.save(tmp_path / "start.safetensors")
    again = CompressedInit.load(tmp_path / "start.safetensors")
    fresh = nets.Conv()
    masks = again.apply(fresh)
    values = fresh.conv2.weight.detach().numpy()
    assert len(np.unique(values)) == 3
    assert np.array_equal(np.sign(values), np.sign(weight))
    assert np.array_equal(masks["conv2.weight"].numpy(), weight != 0)
    assert not fresh.conv1.bias.any()
    assert (fresh.bn1.weight == 1).all()
    assert (tmp_path / "start.safetensors").stat().st_size < 1500  # 1152 + 160 weights
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(CheckpointError, match="cannot be read"):
        CompressedInit.load(tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        again.apply(nets.Conv(12))


def test_halo_steps_by_its_formula():
    """One step of weights and lambdas equals autograd on the written-out penalty."""
    halo = HALO(10, xi=1e-3, psi=1e-4, weight_decay=0.1, momentum=0.0)
    stages, _, step = first_stage(halo)
    reference = nets.Conv()
    reference.load_state_dict(stages.model.state_dict())
    weights = [reference.get_parameter(w.name) for w in stages.partition.nested]
    lambdas = [torch.ones_like(w, requires_grad=True) for w in weights]
    penalty = 1e-3 * sum((w.abs() / v**2).sum() for w, v in zip(weights, lambdas, strict=True))
    penalty = penalty + 1e-4 * sum(v.abs().sum() for v in lambdas)
    (cross_entropy(reference(batch()[0]), batch()[1]) + penalty).backward()
    step(0)
    for weight, value in zip(stages.partition.nested, lambdas, strict=True):
        expected = reference.get_parameter(weight.name)
        assert torch.allclose(
            stages.model.get_parameter(weight.name), expected - 0.05 * expected.grad, atol=1e-6
        )
        assert torch.allclose(
            halo_lambda(stages)[weight.name], value - 0.05 * (value.grad + 0.1 * value), atol=1e-6
        )


def halo_lambda(stages):
    return stages._stage.sparsifier._lambda


def test_halo_lambdas_go_to_their_fixed_point():
    """With weight decay lambda settles at (2 xi |w| / decay)^(1/4), small for small weights."""
    halo = HALO(4000, xi=1e-8, psi=0.0, weight_decay=1e-4, momentum=0.9)
    model = nn.Linear(3, 1, bias=False)
    model.weight.data = torch.tensor([[0.1, 0.01, 0.001]])
    stages = elsa_stages(model, [0.5], sparsifier=halo)
    stage = next(iter(stages))
    optimizer = torch.optim.SGD(model.parameters(), lr=50.0)
    stage.attach(optimizer)
    for _ in range(3000):
        stage.context.step = 0
        stage.sparsifier.before_step(stage.context)
    expected = [(2e-8 * w / 1e-4) ** 0.25 for w in (0.1, 0.01, 0.001)]
    assert expected == pytest.approx([0.0669, 0.0376, 0.0211], abs=1e-4)
    assert stage.sparsifier._lambda["weight"][0].tolist() == pytest.approx(expected, rel=0.02)


@given(steps=st.integers(300, 3000), rate=st.floats(0.05, 0.2))
@settings(max_examples=5, deadline=None)
def test_halos_defaults_do_the_same_in_any_number_of_steps(steps, rate):
    """Lambdas end where they end in 2000 steps at 0.1; with the published steps the defaults are the published ones."""

    def lambdas(count: int, lr: float) -> list[float]:
        halo = HALO(count, learning_rate=lr)
        model = nn.Linear(3, 1, bias=False)
        model.weight.data = torch.tensor([[0.1, 0.01, 0.001]])
        stages = elsa_stages(model, [0.5], sparsifier=halo)
        stage = next(iter(stages))
        stage.attach(torch.optim.SGD(model.parameters(), lr=lr))
        for _ in range(count):
            stage.sparsifier.before_step(stage.context)
        return stage.sparsifier._lambda["weight"][0].tolist()

    assert lambdas(steps, rate) == pytest.approx(lambdas(2000, 0.1), rel=0.05)
    published = HALO(125_120)
    assert (published.xi, published.psi, published.weight_decay) == (1e-8, 1e-8, 1e-4)
    assert HALO(125_120, strength=3.0).xi == pytest.approx(3e-8)


def test_halos_learning_rate_quirk_drops_lambdas_twice():
    """Dropping the weights' rate to a tenth drops the lambdas' to a hundredth, as the original program did."""
    halo = HALO(10, paper_lr_quirk=True)
    _, stage, step = first_stage(halo)
    step(0)
    stage.context.optimizers[0].param_groups[0]["lr"] = 0.005
    assert stage.sparsifier._rate(stage.context) == pytest.approx(0.05 * 0.01)


def test_acdc_alternates_and_ends_sparse():
    """Density follows prune, restore, prune; restored weights start from zero with no momentum."""
    _, stage, step = first_stage(ACDC(10, prune_at=[0.2, 0.6], restore_at=[0.4]))
    seen = []
    for number in range(10):
        step(number)
        seen.append(round(stage.density, 1))
        if number == 3:
            off = stage.model.conv2.weight.detach() == 0
            momentum = stage.context.optimizers[0].state[stage.model.conv2.weight]["momentum_buffer"]
            assert off.float().mean() > 0.5
            assert not momentum[off].any()
    assert seen == [1.0, 0.2, 0.2, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2, 0.2]
    with pytest.raises(UsageError, match="must alternate"):
        ACDC(10, prune_at=[0.5], restore_at=[0.2])


@pytest.mark.parametrize("granularity", ["unstructured", "4x1", "1x4"])
@pytest.mark.parametrize("kind", [RigL, SET])
def test_connections_move_and_their_number_stays(kind, granularity):
    """Every layer keeps its number of active weights;

    some are others than before; nothing moves after `until`.
    """
    _, stage, step = first_stage(kind(12, every=3, until=0.5), granularity=granularity)
    before = {name: mask.clone() for name, mask in stage.context.active.items()}
    for number in range(6):
        step(number)
    after = {name: mask.clone() for name, mask in stage.context.active.items()}
    assert all(int(before[n].sum()) == int(after[n].sum()) for n in before)
    assert any(not torch.equal(before[n], after[n]) for n in before)
    for number in range(6):
        step(number)
    assert all(torch.equal(after[n], stage.context.active[n]) for n in after)


def test_rigl_grows_where_the_gradient_is_largest():
    """The weights that come on are those with the largest gradient among those that were off."""
    stages, stage, _ = first_stage(RigL(10, every=1, fraction=0.2, until=1.0))
    model = stages.model
    before = stage.context.active["conv2.weight"].clone()
    optimizer = stage.context.optimizers[0]
    optimizer.zero_grad()
    loss = cross_entropy(model(batch()[0]), batch()[1])
    reference = torch.autograd.grad(loss, model.conv2.weight, retain_graph=True)[0].abs()
    loss.backward()
    optimizer.step()
    grown = stage.context.active["conv2.weight"] & ~before
    off = ~stage.context.active["conv2.weight"] & ~before
    assert grown.any()
    assert reference[grown].min() >= reference[off].max()


def test_snip_keeps_the_weights_the_gradient_times_value_names():
    """Scores are |w g| of the first batch; nothing moves before."""
    torch.manual_seed(0)
    reference = nets.Conv()
    cross_entropy(reference(batch()[0]), batch()[1]).backward()
    torch.manual_seed(0)
    stages, stage, step = first_stage(SNIP())
    step(0)
    scores = {w.name: (p := reference.get_parameter(w.name)) * p.grad for w in stages.partition.nested}
    kept = torch.cat([scores[n].detach().abs()[m] for n, m in stage.context.active.items()])
    cut = torch.cat([scores[n].detach().abs()[~m] for n, m in stage.context.active.items()])
    assert kept.min() >= cut.max() * (1 - 1e-4)
    assert stage.density == pytest.approx(0.2, abs=1e-3)


def test_sr_ste_decays_what_is_off_and_lets_it_train():
    """A weight that is off gets its straight-through gradient and the extra decay, and can come back."""
    stages, stage, step = first_stage(SRSTE(rate=0.1), sparsity=0.5, granularity="2:4")
    dense = {n: v.clone() for n, v in stage.sparsifier._dense.items()}
    off = ~stage.context.active["conv2.weight"]
    reference = nets.Conv()
    reference.load_state_dict(stages.model.state_dict())
    cross_entropy(reference(batch()[0]), batch()[1]).backward()
    step(0)
    gradient = reference.conv2.weight.grad
    expected = dense["conv2.weight"] - 0.05 * (gradient + 0.1 * dense["conv2.weight"] * off)
    assert torch.allclose(stage.sparsifier._dense["conv2.weight"], expected, atol=1e-6)
    groups = (stages.model.conv2.weight != 0).permute(0, 2, 3, 1).reshape(-1, 4)
    assert (groups.sum(1) == 2).all()


def test_settings_out_of_range_are_refused():
    """Each method says what is wrong with its settings."""
    for make in (
        lambda: GradualMagnitude(0),
        lambda: GradualMagnitude(10, begin=0.9, end=0.1),
        lambda: HALO(10, xi=-1.0),
        lambda: HALO(10, strength=0.0),
        lambda: RigL(10, fraction=2.0),
        lambda: SNIP(0),
        lambda: SRSTE(rate=-1.0),
        lambda: ASNI(0, 1),
        lambda: ASNI(5, 1, width=-1.0),
    ):
        with pytest.raises(UsageError):
            make()
    assert math.isclose(ASNI(5, 1).density_after(4, 0.1), 0.1)
