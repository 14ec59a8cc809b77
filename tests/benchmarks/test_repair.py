"""The repair benchmark's arithmetic: means over seeds, distances to the dense network, claims from rows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.repair import runs
from benchmarks.repair.__main__ import _claims, _summary
from benchmarks.repair.photographs import _crops


def row(mode, sparsity, repaired, *, seed=0, granularity="unstructured", weights_kept=True):
    return {
        "network": "ResNet-20", "mode": mode, "granularity": granularity, "sparsity": sparsity, "seed": seed,
        "steps": 300, "dense": 0.91, "as_cut": 0.2, "batch_norm": 0.5, "repaired": repaired, "cpu_s": 90.0,
        "weights_kept": weights_kept, "asked_steps": 300,
    }  # fmt: skip


def test_claims_compare_with_the_dense_network_at_hand():
    """3.6 points below dense holds the goal of 4, 1.5 points do not hold 1.2; what was not run does not hold."""
    table = _summary(
        [row("tables", 0.95, 0.872, seed=0), row("tables", 0.95, 0.876, seed=1), row("weights", 0.95, 0.895)]
    )
    assert [entry["minus_dense"] for entry in table] == [pytest.approx(-3.6), pytest.approx(-1.5)]
    assert table[0]["interval"] == pytest.approx(12.706 * 0.2, abs=0.01)
    claims = {claim.claim.split(":")[0]: claim for claim in _claims(table, [])}
    assert claims["tables, 95 %"].holds
    assert not claims["weights, 95 %"].holds
    assert claims["tables, 90 %"].measured is None
    assert not claims["tables, 90 %"].holds
    assert claims["tables"].holds is False  # no dense level among the rows: its change was not measured


def test_photographs_hold_by_the_better_mode():
    """Agreement of both modes is compared by the higher one."""
    shown = [{"sparsity": 0.5, "repaired": 0.88}, {"sparsity": 0.5, "repaired": 0.93}]
    claims = {claim.claim: claim for claim in _claims([], shown)}
    name = next(claim for claim in claims if "50%" in claim)
    assert claims[name].measured == 0.93
    assert claims[name].holds


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    """Its rows come from the file; with `finished` nothing is run."""
    monkeypatch.setattr(runs, "KEPT", tmp_path / "kept.jsonl")
    calls = []

    def make(seed):
        calls.append(seed)
        return [{"seed": seed}]

    assert runs.kept(make, finished=True, seed=1) == []
    assert (
        runs.kept(make, seed=1)
        == runs.kept(make, seed=1)
        == runs.kept(make, finished=True, seed=1)
        == [{"seed": 1}]
    )
    assert calls == [1]


def test_crops_lie_inside_their_photograph():
    """Every crop has the size that the network takes, whatever the photograph's; the seed decides them."""
    from PIL import Image

    picture = Image.fromarray(np.arange(300 * 250 * 3, dtype=np.uint32).astype(np.uint8).reshape(300, 250, 3))
    first, second = (_crops(picture, 6, np.random.default_rng(4)) for _ in range(2))
    assert all(crop.shape == (224, 224, 3) for crop in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
