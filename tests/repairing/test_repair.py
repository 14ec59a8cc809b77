"""Levels learn from the dense network; what must stay stays bit for bit; what cannot work is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import learned
from torch import nn

from elsa_edge.errors import CheckpointError, ElsaError, InputError, UnknownNameError, UsageError
from elsa_edge.levels import Ladder
from elsa_edge.repairing import RepairSettings, repair
from elsa_edge.repairing.augment import Augmentation
from elsa_edge.repairing.distance import Agreement
from elsa_edge.repairing.records import Clock
from elsa_edge.repairing.samples import Samples
from elsa_edge.repairing.sources import source_of
from elsa_edge.repairing.student import Student
from elsa_edge.repairing.teacher import Teacher
from elsa_edge.repairing.tune import LevelTuner
from elsa_edge.sparsify import sparsify
from elsa_edge.trained import load_arrays


def accuracies(checkpoint):
    """Return the accuracy of each level on unseen images."""
    model = learned.patterns()
    found = []
    for level in range(len(checkpoint.ladder)):
        load_arrays(model, checkpoint.at_level(level))
        found.append(learned.accuracy(model))
    return found


def same_arrays(one, other):
    """Whether two mappings of arrays are equal to the bit."""
    return set(one) == set(other) and all(one[n].tobytes() == other[n].tobytes() for n in one)


def test_tables_leave_every_weight_and_the_dense_level_as_they_were(cut, quick):
    """Weights and indices are equal to the bit, and so are all numbers of the dense level; sparse levels learnt."""
    repaired = repair(cut, learned.patterns(), learned.inputs(), quick())

    assert same_arrays(repaired.weights, cut.weights)
    assert same_arrays(repaired.indices, cut.indices)
    assert same_arrays(repaired.at_level(2), cut.at_level(2))
    before, after = accuracies(cut), accuracies(repaired)
    assert after[0] > before[0] + 0.2
    assert after[1] > before[1] + 0.2
    assert after[2] == before[2]


def test_a_dense_level_with_weights_that_are_zero_already_is_left_alone(quick):
    """Networks have a few such weights; no step is spent on the level, and its numbers stay."""
    model = learned.learned()
    with torch.no_grad():
        model.conv2.weight[0, 0] = 0.0
    cut = sparsify(model, [0.5, 0.0])
    assert cut.ladder[1].density < 1.0
    repaired = repair(cut, learned.patterns(), learned.inputs(), quick(steps=4, check_every=2))
    assert list(repaired.provenance["repair"]["levels"]) == ["s50"]
    assert same_arrays(repaired.at_level(1), cut.at_level(1))


def test_weights_go_further_and_keep_the_levels_nested(cut, quick):
    """The sparsest level gets better than by tables alone; what a level was measured at is what the file holds."""
    by_tables = accuracies(repair(cut, learned.patterns(), learned.inputs(), quick()))
    repaired = repair(cut, learned.patterns(), learned.inputs(), quick(mode="weights"))

    assert same_arrays(repaired.indices, cut.indices)
    assert accuracies(repaired)[0] > by_tables[0]
    assert accuracies(repaired)[2] > accuracies(cut)[2] - 0.02
    told = repaired.provenance["repair"]["levels"]
    assert list(told) == ["s75", "s50", "dense"]
    for level, facts in enumerate(told.values()):
        assert facts["repaired"] == pytest.approx(agreement_in(repaired, cut, level), abs=1e-12)
        assert facts["cut"] == pytest.approx(agreement_in(cut, cut, level), abs=1e-12)
    assert told["dense"]["cut"] == 1.0


def test_levels_that_weights_below_them_have_changed_are_told_of_without_time_too(cut, quick, monkeypatch):
    """The time is over after the first level: the others get statistics, their figures, and no old accuracy."""
    known = replace(cut, ladder=Ladder(tuple(replace(level, accuracy=0.9) for level in cut.ladder)))
    passed = [0.0]
    monkeypatch.setattr("elsa_edge.repairing.run.Clock", lambda most: Clock(most, now=lambda: passed[0]))

    def wait(event):
        passed[0] += 1.0  # longer than all the time

    settings = quick(mode="weights", steps=40, minutes=0.01)
    repaired = repair(known, learned.patterns(), learned.inputs(), settings, progress=wait)
    told = repaired.provenance["repair"]["levels"]
    assert list(told) == ["s75", "s50", "dense"]
    assert [told[name]["steps"] for name in ("s50", "dense")] == [0, 0]
    for level, facts in enumerate(told.values()):
        assert facts["repaired"] == pytest.approx(agreement_in(repaired, cut, level), abs=1e-12)
    assert [level.accuracy for level in repaired.ladder] == [None] * 3


def agreement_in(repaired, dense, level):
    """Compute a level's agreement with the dense network on the held-out inputs, from the files alone."""
    model = learned.patterns()
    samples = Samples(source_of(model, learned.inputs()), held_out=0.1, augmentation=Augmentation(), seed=0)
    counted = Agreement(["kl"])
    for (images,), _ in samples.held_out(64):
        answers = []
        for state in (repaired.at_level(level), dense.at_level(len(dense.ladder) - 1)):
            load_arrays(model, state)
            with torch.no_grad():
                answers.append([model.eval()(images)])
        counted.add(*answers)
    return counted.value


@pytest.mark.parametrize("mode", ["tables", "weights"])
def test_a_repair_that_was_stopped_ends_with_the_same_bits(cut, quick, tmp_path, mode):
    """Stopped inside the second level and given again, it ends like one that was not; its state file is gone."""
    settings = quick(mode=mode, steps=12, check_every=4, augment="crop-flip")
    straight = repair(cut, learned.patterns(), learned.inputs(), settings)

    def stop(event):
        if event.level == "s50" and event.step == 7:
            raise KeyboardInterrupt

    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        repair(cut, learned.patterns(), learned.inputs(), settings, state=state, progress=stop)
    steps = []
    resumed = repair(
        cut,
        learned.patterns(),
        learned.inputs(),
        settings,
        state=state,
        progress=lambda event: steps.append((event.level, event.step)),
    )

    assert steps[0] == ("s50", 5)
    assert not state.exists()
    assert same_arrays(resumed.weights, straight.weights)
    assert same_arrays(resumed.tables, straight.tables)


def test_the_state_of_another_repair_is_refused(cut, quick, tmp_path):
    """Other settings do not go on with it, and neither does a damaged file."""
    state = tmp_path / "state"

    def stop(_event):
        if state.exists():
            raise KeyboardInterrupt

    settings = quick(steps=8, check_every=2)
    with pytest.raises(KeyboardInterrupt):
        repair(cut, learned.patterns(), learned.inputs(), settings, state=state, progress=stop)
    with pytest.raises(UsageError, match="other settings"):
        repair(cut, learned.patterns(), learned.inputs(), quick(steps=9, check_every=2), state=state)
    whole = state.read_bytes()
    flipped = bytearray(whole)
    flipped[-len(whole) // 2] ^= 1
    for damaged in (b"nothing", b"", whole[:-9], bytes(flipped)):
        state.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            repair(cut, learned.patterns(), learned.inputs(), settings, state=state)


def test_dead_channels_stay_dead(quick):
    """Rows that the cut zeroed behind dead channels are zero after the repair, so that passes can drop them."""
    model = learned.learned()
    cut = sparsify(model, [0.5, 0.0], granularity="channel", allocation="uniform", data=learned.inputs())
    repaired = repair(cut, learned.patterns(), learned.inputs(), quick(steps=10, check_every=5))

    held = 0
    for name in ("bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias"):
        dead = (cut.tables[name][0] == 0.0) & (cut.weights[name] != 0.0)
        held += int(dead.sum())
        assert not repaired.tables[name][0][dead].any()
        assert np.any(repaired.tables[name][0][~dead] != cut.tables[name][0][~dead])
    assert held > 10


class _Sequences(nn.Module):
    """Recurrent, without BatchNorm; a sequence of vectors comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.lstm = nn.LSTM(6, 12, batch_first=True)
        self.out = nn.Linear(12, 5)

    def forward(self, steps):
        return {"vectors": self.out(self.lstm(self.norm(steps))[0])}


@pytest.mark.parametrize("mode", ["tables", "weights"])
def test_outputs_that_are_not_classes_are_imitated_by_their_values(quick, mode):
    """Mean squared error serves a recurrent network with a dictionary of sequences; the agreement rises."""
    torch.manual_seed(0)
    model = _Sequences()
    cut = sparsify(model, [0.6, 0.0])
    repaired = repair(
        cut, _Sequences(), {"steps": np.random.default_rng(0).normal(size=(256, 7, 6))}, quick(mode=mode)
    )

    told = repaired.provenance["repair"]
    assert told["outputs"] == ["mse"]
    assert told["levels"]["s60"]["repaired"] > told["levels"]["s60"]["cut"] + 0.02


def test_named_features_and_an_own_loss_are_used(cut, quick):
    """A feature of a module that does not exist is answered with the nearest; an own loss decides what is learnt."""
    with pytest.raises(UnknownNameError, match="'bn2'"):
        repair(cut, learned.patterns(), learned.inputs(), quick(features=("bn22",)))
    calls = []

    def half(answer, target):
        calls.append(answer.shape)
        return 0.5 * (answer - target).abs().mean()

    settings = quick(steps=4, check_every=2, features=("bn2",), loss=half)
    model = learned.patterns()
    model.head.bias.requires_grad_(False)
    repaired = repair(cut, model, learned.inputs(), settings)
    assert [p.requires_grad for p in (model.conv1.weight, model.head.bias)] == [True, False]
    assert not model.bn2._forward_hooks
    assert calls
    assert "half" in repaired.provenance["repair"]["loss"]
    assert repaired.provenance["repair"]["features"] == ["bn2"]


def _raising(_answer, _target):
    message = "my mistake"
    raise ValueError(message)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (_raising, "loss _raising failed .*my mistake"),
        (lambda _answer, _target: 3.0, "found float"),
        (lambda answer, target: (answer - target).square(), r"scalar tensor.*found \("),
        (lambda answer, target: (answer - target).square().mean().detach(), "without gradients"),
    ],
)
def test_a_loss_of_the_users_that_cannot_serve_is_refused(cut, quick, loss, message):
    with pytest.raises(UsageError, match=message):
        repair(cut, learned.patterns(), learned.inputs(), quick(steps=2, check_every=1, loss=loss))


def test_a_repair_does_not_go_on_with_other_inputs_or_another_teacher(cut, quick, tmp_path):
    """Half of the inputs replaced, or another network to imitate: the state is of another repair."""

    def stop(event):
        if event.level == "s50":
            raise KeyboardInterrupt

    def run(inputs, teacher=None, progress=stop):
        settings = quick(steps=4, check_every=2)
        repair(cut, learned.patterns(), inputs, settings, teacher=teacher, state=state, progress=progress)

    state, inputs = tmp_path / "state", learned.inputs()
    with pytest.raises(KeyboardInterrupt):
        run(inputs)
    with pytest.raises(UsageError, match="other inputs"):
        run(torch.cat([inputs[:700], inputs[:800]]))
    other = learned.learned()
    with torch.no_grad():
        other.head.bias += 1.0
    with pytest.raises(UsageError, match="begun with another"):
        run(inputs, other)


def test_levels_are_never_left_worse_than_they_were_cut(cut, quick):
    """A rate that wrecks everything still gives the best that was seen."""
    repaired = repair(
        cut, learned.patterns(), learned.inputs(), quick(steps=6, check_every=2, learning_rate=30.0)
    )
    for facts in repaired.provenance["repair"]["levels"].values():
        assert facts["repaired"] >= facts["started"] >= facts["cut"]


def test_a_loss_that_is_not_a_number_ends_the_level_and_keeps_the_best(cut, quick):
    """An own loss that becomes NaN at the third step: the level says so and is what it was at its best look."""
    calls = []

    def breaking(answer, target):
        calls.append(answer)
        distance = (answer - target).square().mean()
        return distance if answer.requires_grad is False or len(calls) < 20 else distance * float("nan")

    repaired = repair(
        cut, learned.patterns(), learned.inputs(), quick(steps=30, check_every=1, loss=breaking)
    )
    told = repaired.provenance["repair"]["levels"]["s75"]
    assert told["why"] == "NaN"
    assert told["repaired"] >= told["started"]
    assert all(np.isfinite(table).all() for table in repaired.tables.values())


class _Constant(nn.Module):
    """Answers every input alike."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x * 0.0)


class _WeightsOnly(nn.Module):
    """No norm, no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:5], "too few inputs"),
        (lambda x: x * 255.0, "look unlike"),
        (lambda x: x + 12.0, "look unlike"),
        (lambda x: x[:, :, :, :1, None], "does not take these inputs"),
        (lambda x: x.index_fill(0, torch.tensor([3]), float("nan")), "NaN or infinity"),
        (lambda x: x.index_fill(0, torch.tensor([1400]), float("nan")), "NaN or infinity"),
        (lambda x: {"x": x, "y": x[:4]}["y"][:0], "samples, at least 1"),
    ],
    ids=["five", "another scale", "shifted", "another shape", "NaN", "late NaN", "none"],
)
def test_inputs_that_cannot_serve_are_refused(cut, quick, change, message):
    """Each is answered with what is wrong with it."""
    with pytest.raises(InputError, match=message):
        repair(cut, learned.patterns(), change(learned.inputs()), quick())


def test_unlike_inputs_are_taken_when_the_person_insists(cut, quick):
    """`accept_inputs` goes on with inputs of another scale."""
    settings = quick(steps=2, check_every=1, accept_inputs=True)
    repaired = repair(cut, learned.patterns(), learned.inputs() * 30.0, settings)
    assert "repair" in repaired.provenance


def test_a_network_that_cannot_teach_or_learn_is_refused(quick):
    """Constant outputs teach nothing; without norms and biases there are no tables, but weights can be tuned."""
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="answers every input alike"):
        repair(sparsify(_Constant(), [0.5, 0.0]), _Constant(), inputs, quick())
    cut = sparsify(_WeightsOnly(), [0.5, 0.0])
    with pytest.raises(UsageError, match="nothing to tune"):
        repair(cut, _WeightsOnly(), inputs, quick())
    assert repair(cut, _WeightsOnly(), inputs, quick(mode="weights", steps=2)).indices


def test_without_time_for_one_level_nothing_is_made(cut, quick):
    """An error says so; the checkpoint as it was cut is what is left."""
    with pytest.raises(ElsaError, match="before the first level"):
        repair(cut, learned.patterns(), learned.inputs(), quick(minutes=1e-9))


def test_as_many_steps_are_planned_as_the_time_allows(cut, quick):
    """With a clock that ticks whenever it is read, the cosine ends before the time does, and the level says why."""
    settings = quick(steps=500, check_every=5, patience=100)
    model = learned.learned()
    samples = Samples(source_of(model, learned.inputs()), held_out=0.1, augmentation=Augmentation(), seed=0)
    ticks = iter(range(10**9))
    tuner = LevelTuner(
        Student(learned.learned(), cut, "tables"),
        0,
        Teacher(model, samples, settings, "cpu"),
        samples,
        settings=settings,
        clock=Clock(60.0, now=lambda: float(next(ticks))),
        share_s=60.0,
    )
    seen = []
    found = tuner.tune(progress=lambda step, planned, *_: seen.append((step, planned)), save=lambda: None)
    assert found.why == "time"
    assert found.steps < 60
    assert seen[-1][0] == seen[-1][1] == found.steps
    assert found.repaired > found.cut


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "weight"},
        {"loss": "l1"},
        {"augment": "flip"},
        {"steps": 0},
        {"batch_size": 1},
        {"learning_rate": float("nan")},
        {"learning_rate": 1e38},
        {"temperature": 0.0},
        {"minutes": -1.0},
        {"held_out": 0.6},
    ],
)
def test_settings_are_checked_before_anything_is_done(wrong):
    """Each wrong setting is a usage error."""
    with pytest.raises(UsageError):
        RepairSettings(**wrong)
