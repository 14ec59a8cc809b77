"""`sparsify`: nested checkpoints from dense weights, in every granularity, with statistics per level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import nets

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import InputError, UsageError
from elsa_edge.levels import active_counts, mask_at
from elsa_edge.sparsify import sparsify
from elsa_edge.sparsify.prunable import find_prunable
from elsa_edge.sparsify.statistics import reestimate


def run_at(model, checkpoint, level, x):
    model.load_state_dict({n: torch.from_numpy(np.array(a)) for n, a in checkpoint.at_level(level).items()})
    model.eval()
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize("ladder", [[0.5], [0.9, 0.0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]])
@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_any_ladder_has_exact_densities(ladder, method, tmp_path):
    """One level, two, seven, and a last level that is not dense: measured densities are the targets."""
    model = nets.Conv()
    checkpoint = sparsify(model, ladder, method=method)
    total = sum(index.size for index in checkpoint.indices.values())
    expected = [round((1 - s) * total) / total for s in ladder]
    assert checkpoint.densities == pytest.approx(expected, abs=1e-12)
    checkpoint.save(tmp_path / "n.safetensors")
    again = NestedCheckpoint.load(tmp_path / "n.safetensors")
    assert again.ladder == checkpoint.ladder
    assert all(a.dtype == np.float32 for n, a in again.weights.items() if not n.endswith("tracked"))


def test_the_model_is_left_alone_and_the_dense_level_is_the_model():
    """Sparsifying changes nothing in the network; its densest level computes the same bits."""
    model = nets.Conv()
    x = torch.randn(4, 1, 8, 8)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model.eval()
    expected = model(x)
    checkpoint = sparsify(model, [0.9, 0.0], data=np.random.default_rng(0).normal(size=(20, 1, 8, 8)))
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert not model.training
    assert torch.equal(run_at(nets.Conv(), checkpoint, 1, x), expected)


def test_magnitude_keeps_the_largest_weights_of_all_layers():
    """No weight that was cut is larger than one that was kept."""
    model = nets.Conv()
    checkpoint = sparsify(model, [0.7])
    kept = np.concatenate(
        [np.abs(checkpoint.weights[n])[mask_at(i, 0)] for n, i in checkpoint.indices.items()]
    )
    cut = np.concatenate(
        [np.abs(checkpoint.weights[n])[~mask_at(i, 0)] for n, i in checkpoint.indices.items()]
    )
    assert cut.max() <= kept.min()


def test_statistics_fit_each_level():
    """Each sparse level has statistics of its own, which keep its first BatchNorm where the dense one is."""
    model = nets.Conv()
    data = torch.randn(50, 1, 8, 8)
    model.bn1.running_mean.normal_()
    checkpoint = sparsify(model, [0.8, 0.5, 0.0], data={"x": data.numpy()})
    given = [
        torch.conv2d(
            data, *(torch.from_numpy(state[f"conv1.{part}"]) for part in ("weight", "bias")), padding=1
        )
        for state in (checkpoint.at_level(level) for level in range(3))
    ]
    means, variances = (checkpoint.tables[f"bn1.running_{part}"] for part in ("mean", "var"))
    normalised = [
        torch.batch_norm(x, None, None, *map(torch.from_numpy, (mean, var)), False, 0.0, model.bn1.eps, False)
        for x, mean, var in zip(given, means, variances, strict=True)
    ]
    for level in (0, 1):
        for moment in (torch.mean, torch.std):
            assert moment(normalised[level], (0, 2, 3)) == pytest.approx(
                moment(normalised[2], (0, 2, 3)), abs=1e-2
            )
    assert np.array_equal(means[2], model.bn1.running_mean.numpy())  # dense: as trained
    assert not np.array_equal(means[0], means[1])


@pytest.mark.parametrize("with_data", [True, False])
@pytest.mark.parametrize("make", [nets.Conv, nets.Derived, nets.Branching])
def test_dead_channels_put_out_exactly_zero(make, with_data):
    """With channel granularity BatchNorm and bias of a dead channel are zeroed, if its BatchNorm can be found."""
    model = make()
    for norm in (model.bn1, model.bn2):
        norm.bias.data.normal_()
        norm.running_mean.normal_()
    x = torch.rand(6, 1, 8, 8)
    checkpoint = sparsify(model, [0.6, 0.0], granularity="channel", data=x if with_data else None)
    dead = ~mask_at(checkpoint.indices["conv2.weight"], 0).any((1, 2, 3))
    assert dead.any()
    assert "head.weight" not in checkpoint.indices
    seen = []
    fresh = make()
    fresh.bn2.register_forward_hook(lambda _m, _i, o: seen.append(o))
    run_at(fresh, checkpoint, 0, x)
    found = make is not nets.Branching or with_data
    assert bool((seen[0][:, torch.from_numpy(dead)] == 0).all()) is found
    assert any("not found" in note for note in checkpoint.provenance["notes"]) is not found


@pytest.mark.parametrize("granularity", ["4x1", "1x4", "4x4"])
def test_blocks_are_consecutive_output_and_input_channels(granularity):
    """Every block of output x input channels is active as a whole or not at all."""
    checkpoint = sparsify(nets.Conv(), [0.9, 0.5], granularity=granularity)
    high, wide = map(int, granularity.split("x"))
    index = checkpoint.indices["conv2.weight"]
    blocks = index.reshape(-1, high, index.shape[1] // wide, wide, *index.shape[2:])
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert checkpoint.densities == pytest.approx([0.1, 0.5], abs=0.005)


def test_block_is_the_old_name_of_4x1():
    """Both names give the same levels."""
    net = nets.Conv()
    old, new = (sparsify(net, [0.9, 0.5], granularity=name) for name in ("block", "4x1"))
    assert all((old.indices[name] == new.indices[name]).all() for name in new.indices)


def test_input_channels_that_four_does_not_divide_are_cut_all_the_same():
    """Six input channels make a whole block and half of one; none is refused."""
    torch.manual_seed(0)
    checkpoint = sparsify(torch.nn.Sequential(torch.nn.Conv2d(6, 8, 3)), [0.5], granularity="1x4")
    mask = checkpoint.indices["0.weight"] == 0
    assert (mask[:, :4] == mask[:, :1]).all()
    assert (mask[:, 4:] == mask[:, 4:5]).all()


def test_two_of_four_skips_what_does_not_divide_and_says_so():
    """The first convolution has one input channel: it stays dense and the notes say why."""
    checkpoint = sparsify(nets.Conv(), [0.75, 0.5, 0.0], granularity="2:4")
    assert sorted(checkpoint.indices) == ["conv2.weight", "head.weight"]
    assert checkpoint.densities == (0.25, 0.5, 1.0)
    assert any("conv1.weight stays dense" in note for note in checkpoint.provenance["notes"])


def test_every_kind_of_layer_is_found_and_embeddings_are_not():
    """Grouped and transposed convolutions, LSTM, GRU, attention and linear layers can be nested."""
    weights = find_prunable(nets.Zoo())
    assert {w.kind for w in weights} == {"conv", "conv_transpose", "recurrent", "attention", "linear"}
    assert not any("embed" in w.name or "norm" in w.name or "bias" in w.name for w in weights)
    checkpoint = sparsify(nets.Zoo(), [0.8, 0.3], allocation="erk")
    assert checkpoint.densities == pytest.approx([0.2, 0.7], abs=1e-3)


def test_tied_weights_are_one_weight_and_one_with_an_embedding_stays_dense():
    """A tied weight has one index under both names; loading a level gives masked weights under both."""
    model = nets.Tied()
    checkpoint = sparsify(model, [0.5])
    assert sorted(checkpoint.indices) == ["first.weight", "second.weight"]
    assert active_counts(checkpoint.indices["first.weight"], 1).tolist() == [32]
    fresh = nets.Tied()
    run_at(fresh, checkpoint, 0, torch.tensor([[1, 2]]))
    assert int((fresh.first.weight != 0).sum()) == 32


def test_include_and_exclude_choose_and_refuse_what_matches_nothing():
    """Patterns name weights or modules; one that fits none is an error that names the nearest."""
    model = nets.Conv()
    assert sorted(sparsify(model, [0.5], include=["conv*"]).indices) == ["conv1.weight", "conv2.weight"]
    assert sorted(sparsify(model, [0.5], exclude=["head", "*1*"]).indices) == ["conv2.weight"]
    with pytest.raises(UsageError, match=r"'conf1' matches no weight.*Nearest: 'conv1'"):
        sparsify(model, [0.5], include=["conf1"])
    with pytest.raises(UsageError, match="leave no weight"):
        sparsify(model, [0.5], exclude=["*"])
    with pytest.raises(UsageError, match="no weight that can be sparse"):
        sparsify(torch.nn.BatchNorm1d(3), [0.5])


def test_seeds_decide_the_random_method():
    """The same seed gives the same masks, another seed others."""
    model = nets.Conv()
    first, again, other = (sparsify(model, [0.5], method="random", seed=s) for s in (1, 1, 2))
    name = "conv2.weight"
    assert np.array_equal(first.indices[name], again.indices[name])
    assert not np.array_equal(first.indices[name], other.indices[name])


def test_data_that_does_not_fit_is_refused():
    """Wrong names, wrong shapes and no samples are told apart."""
    model = nets.Conv()
    image = np.zeros((4, 1, 8, 8), np.float32)
    with pytest.raises(InputError, match="expected arrays named x"):
        sparsify(model, [0.5], data={"image": image, "label": image})
    with pytest.raises(InputError, match="does not take these inputs"):
        sparsify(model, [0.5], data={"x": np.zeros((4, 3, 8, 8), np.float32)})
    with pytest.raises(InputError, match="at least 1"):
        sparsify(model, [0.5], data={"x": image[:0]})
    with pytest.raises(InputError, match="no batch"):
        reestimate(model, [])
    with pytest.raises(UsageError, match="N:M keeps the same share"):
        sparsify(model, [0.5], granularity="2:4", allocation="erk")


def test_channels_of_every_output_stay_wherever_they_are_registered():
    """Cutting a channel of a last layer would silence a class: layers that make outputs are found, not guessed."""
    checkpoint = sparsify(nets.HeadFirst(), [0.5], granularity="channel")
    assert sorted(checkpoint.indices) == ["body.1.weight", "body.3.weight"]
    named = sparsify(nets.HeadFirst(), [0.5], granularity="channel", include=["classes"])
    assert sorted(named.indices) == ["classes.weight"]


def test_wrapped_networks_have_their_own_names():
    """What torch.compile wraps is sparsified under the names of the network inside."""
    compiled = torch.compile(nets.Conv(), backend="eager")
    assert sorted(sparsify(compiled, [0.5]).indices) == ["conv1.weight", "conv2.weight", "head.weight"]
