"""`elsa-edge nest`: ladders from checkpoints that are nested already."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.cli import cli
from elsa_edge.sparsify import sparsify

NETS = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4))\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three nested checkpoints of one network, with biases of their own, in the user's folder."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4))
    levels = sparsify(model, [0.9, 0.5, 0.0])
    for k, name in enumerate(("s90.pt", "s50.pt", "dense.pt")):
        state = {n: torch.from_numpy(np.array(a)) for n, a in levels.at_level(k).items()}
        state["0.bias"] = state["0.bias"] + 0.125 * k
        torch.save(state, tmp_path / name)
    (tmp_path / "joined_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nest(*files):
    return CliRunner().invoke(
        cli, ["nest", *files, "--model", "joined_nets:net", "-o", "nested.safetensors", "--json"]
    )


def test_each_level_is_its_checkpoint_again(folder):
    """Bit for bit, with the biases as a table; densities count what is not zero."""
    result = nest("s90.pt", "s50.pt", "dense.pt")
    assert result.exit_code == 0, result.stderr
    nested = NestedCheckpoint.load(folder / "nested.safetensors")
    assert list(nested.tables) == ["0.bias"]
    assert [level.name for level in nested.ladder] == ["s90", "s50", "dense"]
    for k, name in enumerate(("s90.pt", "s50.pt", "dense.pt")):
        state = torch.load(folder / name, weights_only=True)
        for tensor, array in nested.at_level(k).items():
            assert array.tobytes() == state[tensor].numpy().tobytes()
        nonzero = sum(int((state[n] != 0).sum()) for n in nested.indices)
        total = sum(state[n].numel() for n in nested.indices)
        assert json.loads(result.stdout)["levels"][k]["density"] == pytest.approx(nonzero / total)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["0.weight"].mul_(1.5), "differ from the densest, by up to"),
        (lambda s: s["0.weight"].copy_(torch.ones(20, 10)), "nonzero weights are zero in the next"),
    ],
)
def test_networks_that_are_not_nested(folder, change, words):
    """The error says where, how many and by how much; nothing is written."""
    state = torch.load(folder / "s90.pt", weights_only=True)
    change(state)
    torch.save(state, folder / "s90.pt")
    result = nest("s90.pt", "s50.pt", "dense.pt")
    assert result.exit_code == 1
    assert "0.weight of s90.pt: " in result.stderr
    assert words in result.stderr
    assert not (folder / "nested.safetensors").exists()


@pytest.mark.parametrize("files", [("dense.pt",), ("s50.pt", "s50.pt")])
def test_a_ladder_needs_levels_that_differ(folder, files):
    """One file, or the same twice."""
    assert nest(*files).exit_code == 2


def test_the_wrong_order_is_seen(folder):
    """Sparsest first."""
    result = nest("dense.pt", "s50.pt")
    assert result.exit_code == 1
    assert "are zero in the next" in result.stderr
    assert "the sparsest comes first" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("share", "levels"), [(0.1, [0.95, 0.5, 0.0]), (0.05, [0.9, 0.8]), (0.5, [0.25, 0.0])]
)
def test_densities_of_a_network_that_is_pruned_already(share, levels):
    """Zeros are not active, whatever the level allows; levels that are the same network are noted."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight *= torch.rand_like(layer.weight) < share
    nested = sparsify(model, levels)
    for k, density in enumerate(nested.densities):
        arrays = [nested.at_level(k)[name] for name in nested.indices]
        nonzero = sum(int(np.count_nonzero(array)) for array in arrays)
        assert density == pytest.approx(nonzero / sum(array.size for array in arrays))
        assert nested.ladder[k].density == density
    assert any("same network" in note for note in nested.provenance["notes"])
