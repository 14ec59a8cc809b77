"""The arithmetic of the training claims: differences over seeds, what is chosen apart, and claims from rows."""

from __future__ import annotations

from benchmarks.training_claims import plan
from benchmarks.training_claims.summary import claims_of, table_of


def _run(method, sparsities, accuracies, seed, **more):
    arguments = {"network": "mlp", "epochs": 3, "method": method, "seed": seed, **more}
    rows = [
        {"level": level, "sparsity": sparsity, "before": accuracy + 1.0, "accuracy": accuracy}
        for level, (sparsity, accuracy) in enumerate(zip(sparsities, accuracies, strict=True))
    ]
    return arguments, rows


def test_differences_are_taken_seed_by_seed_against_the_same_length():
    """HALO beside gradual magnitude of its own seeds; the freezer beside what the dense network was before its cut."""
    runs = [
        _run("halo", [0.95], [88.0], 0, xi=1.0),
        _run("halo", [0.95], [87.0], 1, xi=1.0),
        _run("gradual", [0.95], [87.0], 0),
        _run("gradual", [0.95], [85.0], 1),
        _run("gradual", [0.95], [10.0], 2),
        _run("magnitude", [0.95], [70.0], 0),
        _run("freeze", [0.9462, 0.8662], [86.0, 70.4], 0),
        _run("halo", [0.95], [1.0], 0, xi=9.0, choosing=True),
        (_run("joint", [0.9], [1.0], 0)[0], []),
    ]
    table = table_of(runs)
    halo = next(row for row in table if row["method"] == "halo" and "levels" in row)
    assert (halo["accuracy"], halo["minus_gradual"], halo["seeds"]) == (87.5, 1.5, 2)
    assert table[-1] | {"chosen on": "validation", "strength": 9.0} == table[-1]
    holds = {claim.claim: (claim.measured, claim.holds) for claim in claims_of(table)}
    assert list(holds.values()) == [(1.5, True), (-0.6, False)]


def test_only_what_is_finished_decides_a_setting(tmp_path, monkeypatch):
    """Without a finished choice HALO's runs are left out; with one, the best on the validation images is taken."""
    monkeypatch.setattr(plan, "_FOLDER", tmp_path)
    listed = list(plan.every_run(finished=True))
    assert {run["method"] for run in listed if not run.get("choosing")} >= {"gradual", "magnitude", "freeze"}
    assert not any(run["method"] == "halo" and not run.get("choosing") for run in listed)
    found = {0.1: 80.0, 0.3: 90.0, 1.0: 85.0}
    monkeypatch.setattr(plan, "run", lambda **run: [{"accuracy": found[run["xi"]]}])
    assert plan.chosen_strength("mlp", 1) == 0.3
