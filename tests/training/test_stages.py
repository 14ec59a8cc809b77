"""ELSA's invariants: nested masks, frozen bits, identical logits, exact densities, whatever the loop does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import nets
from torch import nn
from torch.nn.functional import cross_entropy

from elsa_edge.errors import ElsaError, LevelError, UnknownNameError, UsageError
from elsa_edge.levels import mask_at
from elsa_edge.training import GradualMagnitude, Nesting, OneShotMagnitude, elsa_stages
from elsa_edge.training.sparsifiers import SPARSIFIERS

LADDER = [0.9, 0.6, 0.0]
STEPS = 6


def batches(count=STEPS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(8, 1, 8, 8, generator=generator), torch.randint(0, 10, (8,), generator=generator))
        for _ in range(count)
    ]


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-2)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)


def train(model, stage, make=sgd, *, clip=False, bf16=False, accumulate=1, extra=None):
    optimizer = make(model.parameters())
    stage.attach(optimizer)
    model.train()
    for number, (x, y) in enumerate(batches(seed=stage.level)):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = cross_entropy(model(x), y)
        loss.backward()
        if (number + 1) % accumulate == 0:
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
        if extra:
            extra()
    return optimizer


def logits(stages, level):
    x = batches(1, seed=99)[0][0]
    with stages.at_level(level) as model:
        modes = [(m, m.training) for m in model.modules()]
        model.eval()
        with torch.no_grad():
            out = model(x)
        for module, mode in modes:
            module.training = mode
    return out


OPTIMIZERS = [sgd, adamw, lambda p: torch.optim.Adam(p, 0.01), lambda p: torch.optim.RMSprop(p, 0.01)]


def levels_stay(stages, train_one):
    """Train all levels;

    hold that each finished level computes the same bits during and after every later one.
    """
    seen = {}
    for stage in stages:
        for level in range(stage.level):
            seen.setdefault(level, logits(stages, level))
        train_one(stages.model, stage)
        for level in range(stage.level):
            assert torch.equal(logits(stages, level), seen[level])
    for level, expected in seen.items():
        assert torch.equal(logits(stages, level), expected)


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("norms", ["per_level", "frozen_shared", "recalibrate"])
def test_logits_of_a_level_are_the_same_bits_after_the_next(make, norms):
    """Whatever optimiser and norm policy:

    every level computes the same bits to the end, and from the checkpoint.
    """
    stages = elsa_stages(
        nets.Conv(), LADDER, sparsifier=GradualMagnitude(STEPS), nesting=Nesting(norms=norms)
    )
    levels_stay(stages, lambda model, stage: train(model, stage, make))
    checkpoint = stages.checkpoint()
    total = sum(index.size for index in checkpoint.indices.values())
    assert checkpoint.densities == tuple(round((1 - s) * total) / total for s in LADDER)
    fresh = nets.Conv().eval()
    for level in range(3):
        fresh.load_state_dict(
            {n: torch.from_numpy(np.array(a)) for n, a in checkpoint.at_level(level).items()}
        )
        with torch.no_grad():
            assert torch.equal(fresh(batches(1, seed=99)[0][0]), logits(stages, level))


@pytest.mark.parametrize("options", [{"clip": True}, {"bf16": True}, {"accumulate": 2}])
def test_clipping_bf16_and_accumulation_keep_frozen_bits(options):
    """What loops usually do between backward and step does not reach frozen weights."""
    stages = elsa_stages(nets.Conv(), LADDER, sparsifier=GradualMagnitude(3))
    levels_stay(stages, lambda model, stage: train(model, stage, **options))


@pytest.mark.parametrize("name", sorted(SPARSIFIERS))
def test_every_sparsifier_works_alone_and_inside_elsa(name):
    """Exact density at each level, nested, frozen bits kept; level 0 is what the sparsifier gives alone."""
    kind = SPARSIFIERS[name]
    needs_steps = name in ("gradual-magnitude", "acdc", "rigl", "set", "halo")
    arguments = {"asni": (3, 2)}.get(name, (STEPS,) if needs_steps else ())
    options = {"every": 2} if name in ("rigl", "set") else {}
    sparsities = [0.75, 0.5, 0.0] if name == "sr-ste" else LADDER
    granularity = "1:4" if name == "sr-ste" else "unstructured"

    def build(ladder):
        torch.manual_seed(3)
        return elsa_stages(
            nets.Conv(),
            ladder,
            sparsifier=kind(*arguments, **options),
            nesting=Nesting(granularity=granularity, seed=5),
        )

    stages, alone = build(sparsities), build(sparsities[:1])
    levels_stay(stages, train)
    levels_stay(alone, train)
    nested, single = stages.checkpoint(), alone.checkpoint()
    total = sum(index.size for index in nested.indices.values())
    assert nested.densities == tuple(round((1 - s) * total) / total for s in sparsities)
    first, separate = nested.at_level(0), single.at_level(0)
    assert all(np.array_equal(first[n], separate[n]) for n in first if not n.endswith("tracked"))
    assert torch.equal(logits(stages, 0), logits(alone, 0))


@pytest.mark.parametrize("granularity", ["block", "1x4", "4x4", "channel", "2:4"])
def test_structured_levels_nest(granularity):
    """Gradual pruning by blocks, channels and N:M: units stay whole at every level."""
    stages = elsa_stages(
        nets.Conv(),
        [0.75, 0.5, 0.0],
        sparsifier=GradualMagnitude(STEPS),
        nesting=Nesting(granularity=granularity),
    )
    levels_stay(stages, train)
    index = stages.checkpoint().indices["conv2.weight"]
    for level in range(2):
        mask = mask_at(index, level)
        if granularity == "block":
            assert len(np.unique(mask.reshape(-1, 4, *mask.shape[1:]).sum(1))) <= 2
        elif granularity in ("1x4", "4x4"):
            blocks = mask.reshape(-1, int(granularity[0]), mask.shape[1] // 4, 4, *mask.shape[2:])
            assert (blocks == blocks[:, :1, :, :1]).all()
        elif granularity == "channel":
            assert set(mask.reshape(len(mask), -1).mean(1)) <= {0.0, 1.0}
        else:
            assert (mask.transpose(0, 2, 3, 1).reshape(-1, 4).sum(1) == level + 1).all()


@pytest.mark.parametrize("init", ["donor", "kaiming", "zero", "rewind"])
def test_free_weights_start_as_asked(init):
    """Donor: their last value; Kaiming: fresh; zero: zero but for empty filters; rewind: the first values."""
    model = nets.Conv()
    first = {n: p.detach().clone() for n, p in model.named_parameters()}
    stages = elsa_stages(model, [0.8, 0.0], sparsifier=OneShotMagnitude(), nesting=Nesting(init=init))
    for stage in stages:
        free = ~stages.frozen_masks()["conv2.weight"]
        values = model.conv2.weight.detach()
        if stage.level == 1:
            same = torch.equal(values[free], first["conv2.weight"][free])
            assert same is (init in ("donor", "rewind"))
            empty = free.flatten(1).all(1)
            if init == "zero":
                assert not values[free & ~empty[:, None, None, None]].any()
            assert bool((values[free] != 0).all()) is (init != "zero" or bool(empty.all()))
        train(model, stage)


def test_a_dense_checkpoint_can_be_the_donor():
    """Weights that a level adds start from the donor's values."""
    torch.manual_seed(7)
    donor = nets.Conv().state_dict()
    model = nets.Conv()
    stages = elsa_stages(model, [0.5, 0.0], sparsifier=GradualMagnitude(STEPS, end=1.0), donor=donor)
    assert stages._donor["head.weight"].equal(donor["head.weight"])
    with pytest.raises(ElsaError, match="donor does not fit"):
        elsa_stages(model, [0.5, 0.0], sparsifier=OneShotMagnitude(), donor=nets.Conv(12).state_dict())


def test_an_optimizer_that_lives_on_forgets_or_masks_its_state():
    """One optimiser over all levels: frozen weights stay; masked state is zero at frozen positions."""
    model = nets.Conv()
    optimizer = sgd(model.parameters())
    stages = elsa_stages(model, LADDER, sparsifier=GradualMagnitude(STEPS))

    def one(model, stage):
        stage.attach(optimizer, state="masked")
        if stage.level:
            momentum = optimizer.state[model.conv2.weight]["momentum_buffer"]
            assert not momentum[stage.context.frozen["conv2.weight"]].any()
        for x, y in batches():
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()

    levels_stay(stages, one)


def test_excluded_weights_are_shared_and_a_head_can_differ_by_level():
    """A weight that is not nested freezes with the sparsest level; a per-level head has one row a level."""
    stages = elsa_stages(
        nets.Conv(),
        LADDER,
        sparsifier=GradualMagnitude(STEPS),
        nesting=Nesting(exclude=["conv1"], per_level_head=True),
    )
    levels_stay(stages, train)
    checkpoint = stages.checkpoint()
    assert sorted(checkpoint.indices) == ["conv2.weight"]
    assert checkpoint.tables["head.weight"].shape == (3, 10, 16)
    assert "conv1.weight" not in checkpoint.tables


def test_tied_weights_freeze_once():
    """A tied weight nests under both names; the embedding and the layer tied to it are shared."""
    model = nets.Tied()
    stages = elsa_stages(model, [0.5, 0.0], sparsifier=OneShotMagnitude())
    for stage in stages:
        optimizer = sgd(model.parameters())
        stage.attach(optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            tokens = torch.randint(0, 11, (4, 3))
            cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
            optimizer.step()
    checkpoint = stages.checkpoint()
    assert np.array_equal(checkpoint.indices["first.weight"], checkpoint.indices["second.weight"])
    assert np.array_equal(checkpoint.weights["first.weight"], checkpoint.weights["second.weight"])
    assert "embedding.weight" not in checkpoint.tables


def test_stopping_and_loading_goes_on_with_the_same_bits():
    """A state saved in the middle of a level continues exactly as if nothing had happened."""

    def build():
        torch.manual_seed(1)
        model = nets.Conv()
        return model, elsa_stages(model, [0.8, 0.0], sparsifier=GradualMagnitude(STEPS))

    def steps(model, optimizer, some):
        for x, y in some:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()

    def straight(stop_at=None):
        model, stages = build()
        for stage in stages:
            optimizer = sgd(model.parameters())
            stage.attach(optimizer)
            for number, batch in enumerate(batches()):
                if (stage.level, number) == stop_at:
                    return {
                        "model": model.state_dict(),
                        "stages": stages.state_dict(),
                        "sgd": optimizer.state_dict(),
                    }
                steps(model, optimizer, [batch])
        return stages.checkpoint()

    expected = straight()
    for stop_at in [(0, 3), (1, 2)]:
        saved = straight(stop_at)
        model, stages = build()
        model.load_state_dict(saved["model"])
        stages.load_state_dict(saved["stages"])
        todo = batches()[stop_at[1] :]
        for stage in stages:
            optimizer = sgd(model.parameters())
            stage.attach(optimizer)
            if todo is not None and stage.level == stop_at[0]:
                optimizer.load_state_dict(saved["sgd"])
            steps(model, optimizer, batches() if todo is None else todo)
            todo = None
        found = stages.checkpoint()
        assert all(np.array_equal(expected.weights[n], found.weights[n]) for n in expected.weights)
        assert all(np.array_equal(expected.indices[n], found.indices[n]) for n in expected.indices)
    with pytest.raises(UsageError, match="another ladder or other settings"):
        elsa_stages(nets.Conv(), [0.7, 0.0], sparsifier=OneShotMagnitude()).load_state_dict(saved["stages"])


def test_mistakes_in_the_loop_are_found():
    """A foreign optimiser, no optimiser, a changed network, NaN, an early checkpoint:

    one clear sentence each.
    """
    model = nets.Conv()
    make = OneShotMagnitude()
    with pytest.raises(UsageError, match="none of the network's parameters"):
        next(iter(elsa_stages(model, LADDER, sparsifier=make))).attach(sgd(nets.Conv().parameters()))
    with pytest.raises(UsageError, match="was not trained"):
        list(elsa_stages(model, LADDER, sparsifier=make))
    stages = elsa_stages(model, LADDER, sparsifier=make)
    steps = iter(stages)
    train(model, next(steps))
    with pytest.raises(UsageError, match="Not all levels are trained"):
        stages.checkpoint()
    train(model, next(steps))
    model.conv2.weight.data.add_(1.0)  # the level is not over: its end gives the frozen weights back
    stage = next(steps)
    model.conv2.weight = nn.Parameter(torch.zeros_like(model.conv2.weight))
    train(model, stage)
    with pytest.raises(ElsaError, match=r"NaN|other objects|were changed"):
        stages._check_untouched()
    model = nets.Conv()
    stages = elsa_stages(model, LADDER, sparsifier=make)
    stage = next(iter(stages))
    train(model, stage, lambda p: torch.optim.SGD(p, lr=1e30))
    with pytest.raises(ElsaError, match=r"NaN or infinite: found conv1"):
        stage.finish()


def test_frozen_weights_changed_between_levels_are_found():
    """Somebody's in-place change after a level is frozen stops the training before it spoils the file."""
    model = nets.Conv()
    stages = elsa_stages(model, [0.8, 0.0], sparsifier=OneShotMagnitude())
    for stage in stages:
        train(model, stage)
        if stage.level == 0:
            stages._finish(stage)
            model.head.weight.data.mul_(2.0)
            break
    with pytest.raises(ElsaError, match="Frozen weights were changed between two levels: found head"):
        next(iter(stages))


def test_wrong_settings_are_refused():
    """Names, patterns and combinations are checked before anything is trained."""
    model, make = nets.Conv(), OneShotMagnitude()
    with pytest.raises(UnknownNameError, match="Nearest: 'per_level'"):
        elsa_stages(model, LADDER, sparsifier=make, nesting=Nesting(norms="perlevel"))
    with pytest.raises(UnknownNameError, match="Nearest: 'kaiming'"):
        elsa_stages(model, LADDER, sparsifier=make, nesting=Nesting(init="kaming"))
    with pytest.raises(UsageError, match="matches no parameter"):
        elsa_stages(model, LADDER, sparsifier=make, nesting=Nesting(per_level=["hed*"]))
    with pytest.raises(LevelError, match="cannot be reached by N of 4"):
        elsa_stages(model, [0.9, 0.5], sparsifier=make, nesting=Nesting(granularity="2:4"))
    with pytest.raises(UsageError, match="no allocation 'erk' with it"):
        elsa_stages(model, [0.5, 0.0], sparsifier=make, nesting=Nesting(granularity="2:4", allocation="erk"))
    with pytest.raises(LevelError, match="cannot be reached"):
        next(iter(elsa_stages(model, [0.9999, 0.5], sparsifier=make)))


def test_a_sharded_network_is_refused(tmp_path):
    """FSDP2 splits parameters over processes; masks need them whole, and the error says so."""
    import torch.distributed as dist
    from torch.distributed.tensor import Replicate, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        model = nets.Conv()
        model.head.weight = nn.Parameter(distribute_tensor(model.head.weight.detach(), mesh, [Replicate()]))
        with pytest.raises(UsageError, match=r"head\.weight is a DTensor"):
            elsa_stages(model, LADDER, sparsifier=OneShotMagnitude())
    finally:
        dist.destroy_process_group()
