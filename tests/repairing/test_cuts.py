"""Cuts and levels that are found by trying: what was chosen is the best of what was tried, and reasons are given."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support import learned
from torch import nn

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.cli import cli
from elsa_edge.errors import InputError
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import Measured, MeasuredLevel
from elsa_edge.repairing.costs import MeasuredTimes
from elsa_edge.repairing.cuts import best_cut
from elsa_edge.repairing.ladders import choose_levels
from elsa_edge.training.flops import flops_fractions


def test_the_best_cut_is_the_one_that_agrees_most():
    """Its scores and allocation are those of the highest mean, and it is a whole checkpoint of the ladder."""
    told = []
    cut, tried = best_cut(learned.learned(), [0.8, 0.6, 0.0], learned.inputs(), told=told.append)

    assert told == tried
    assert {(t.method, t.allocation) for t in tried} > {("magnitude", "global"), ("fisher", "erk")}
    best = max(tried, key=lambda t: t.mean)
    assert (cut.provenance["method"], cut.provenance["allocation"]) == (best.method, best.allocation)
    assert all(len(t.agreements) == 2 for t in tried)
    assert len(cut.ladder) == 3


def test_groups_of_n_in_m_have_no_allocation_to_try():
    """N:M is tried once for each score."""
    _, tried = best_cut(
        learned.learned(),
        [0.5, 0.0],
        learned.inputs(),
        granularity="2:4",
        exclude=["conv1*"],
        candidates=(("magnitude", "global"), ("magnitude", "erk")),
    )
    assert [t.method for t in tried] == ["magnitude"]


def test_without_inputs_that_serve_no_cut_is_chosen():
    """Too few inputs are refused as in a repair."""
    with pytest.raises(InputError, match="too few"):
        best_cut(learned.learned(), [0.5, 0.0], learned.inputs()[:5])


def test_levels_are_chosen_with_reasons():
    """Costs are the true multiply-adds, kept levels step down by at least 30 %, every other has a reason."""
    grid = (0.95, 0.7, 0.5, 0.45, 0.2)
    model = learned.learned()
    ladder, rows = choose_levels(model, learned.inputs(), grid=grid, allocation="uniform")

    kept = [row for row in rows if row.verdict == "kept"]
    assert [row.sparsity for row in rows] == list(grid)
    assert ladder.sparsities == (*(row.sparsity for row in kept), 0.0)
    costs = [row.multiply_adds for row in kept] + [1.0]
    assert kept
    assert all(a <= 0.7 * b for a, b in pairwise(costs))
    assert all(row.verdict for row in rows)
    assert rows[-1].verdict.startswith("saves too little")
    assert rows[0].verdict.startswith("lost")
    cut = best_cut(model, grid, learned.inputs(), candidates=(("magnitude", "uniform"),))[0]
    expected = flops_fractions(model, (torch.zeros(1, 1, 8, 8),), cut.indices, len(grid))
    assert [row.multiply_adds for row in rows] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("sparsest", "why"), [(0.9, "lost: it does not follow its inputs"), (0.9999, "it cannot be reached")]
)
def test_a_candidate_that_serves_nobody_is_lost_like_others(sparsest, why):
    """Nobody asked for just that sparsity: the rest is chosen from."""
    torch.manual_seed(1)
    layers = [part for _ in range(4) for part in (nn.Linear(6, 6, bias=False), nn.ReLU())]
    ladder, rows = choose_levels(
        nn.Sequential(*layers, nn.Linear(6, 3)), torch.randn(200, 6), grid=(sparsest, 0.3)
    )
    assert [row.sparsity for row in rows] == [sparsest, 0.3]
    assert rows[0].verdict == why
    assert sparsest not in ladder.sparsities


def measured(**p50_ms):
    """Return a device's profile with the median latency of each level by name."""
    levels = tuple(MeasuredLevel(name=name, p50_ms=time) for name, time in p50_ms.items())
    return load_profile("generic-x86-64").model_copy(update={"measured": Measured(levels=levels)})


def test_time_that_a_device_measured_decides_over_multiply_adds():
    """Where zeros save nothing above 50 %, no level beyond it is kept; between two levels time is linear."""
    times = MeasuredTimes.of(measured(s90=6.0, s50=6.0, dense=10.0))
    assert times.share_at(0.5) == times.share_at(0.97) == pytest.approx(0.6)
    assert times.share_at(0.25) == pytest.approx(0.8)
    ladder, rows = choose_levels(
        learned.learned(), learned.inputs(), grid=(0.7, 0.5, 0.2), allocation="uniform", times=times
    )
    assert ladder.sparsities == (0.5, 0.0)
    assert [row.time for row in rows] == pytest.approx([0.6, 0.6, 0.84])
    assert [row.verdict.partition(":")[0] for row in rows][1:] == ["kept", "saves too little"]


def test_a_profile_without_times_of_these_levels_is_refused():
    """With what it holds and how to get what is needed."""
    for profile in (load_profile("generic-x86-64"), measured(s50=3.0), measured(s90=2.0, s50=3.0)):
        with pytest.raises(InputError, match="does not say how long"):
            MeasuredTimes.of(profile)


def test_one_command_chooses_cuts_and_repairs(tmp_path, monkeypatch):
    """`sparsify --levels auto --method auto --repair tables` ends in repaired levels, and tells what it tried."""
    torch.save(learned.learned().state_dict(), tmp_path / "net.pt")
    np.savez(tmp_path / "inputs.npz", x=learned.inputs()[:300].numpy())
    monkeypatch.chdir(tmp_path)
    shared = ["sparsify", "net.pt", "--model", "support.learned:patterns", "-o", "out.safetensors"]
    given = ["--levels", "auto", "--method", "auto", "--repair", "tables", "--minutes", "0.1"]
    result = CliRunner().invoke(
        cli, [*shared, *given, "--data", "inputs.npz", "--json"], catch_exceptions=False
    )

    assert result.exit_code == 0, result.stderr
    nested = NestedCheckpoint.load(tmp_path / "out.safetensors")
    report = json.loads(result.stdout)
    told = nested.provenance["repair"]["levels"]
    assert {row.pop("level"): row for row in report["repair"]} == told
    assert "saves too little" in result.stderr or "lost" in result.stderr
    assert "Cuts that were tried" in result.output
    for wrong, message in (
        (["--levels", "auto"], "Add --data"),
        (["--levels", "0.5,0", "--method", "auto"], "Add --data"),
        (["--levels", "0.5,0", "--repair", "tables"], "Add --data"),
        (["--levels", "0.5,0", "--repair", "table"], "Nearest: 'tables'"),
        (["--levels", "0.5,0", "--device", "generic-x86-64"], "--levels auto"),
    ):
        refused = CliRunner().invoke(cli, [*shared[:-1], "other.safetensors", *wrong])
        assert refused.exit_code == 2
        assert message in " ".join(refused.stderr.split())
        assert not (tmp_path / "other.safetensors").exists()
