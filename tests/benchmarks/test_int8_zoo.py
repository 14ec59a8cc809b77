"""The zoo in 8 bits: claims from rows, what a build leaves out counts as dense, and names that exist."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.int8 import kept
from benchmarks.zoo import int8, int8_one
from benchmarks.zoo.networks import NETWORKS
from elsa_edge.graph.canonical import CanonicalGraph


def test_the_median_counts_networks_that_are_left_dense() -> None:
    """One that was not traced has no ratio; one without nested kernels has 1 at every level."""
    rows = [
        {"network": "fast", "over_int8": [2.5, 2.0, 0.99]},
        {"network": "dense", "over_int8": [1.0, 1.0, 1.0]},
        {"network": "slow", "over_int8": [1.9, 1.4, 0.9]},
        {"network": "refused", "over_int8": None},
    ]
    found = int8.claims(rows)
    assert [(c.measured, c.holds) for c in found] == [(1.9, True), (0.99, True), (1.0, True), (0.9, False)]
    assert "3 convolutional networks" in found[0].claim
    assert int8.claims(rows[-1:]) == []


def test_the_median_leaves_out_what_is_not_convolutional() -> None:
    """A tiny transformer counts where no level may be slower, and nowhere else."""
    rows = [
        {"network": "fast", "over_int8": [2.5, 2.0, 0.99]},
        {"network": int8.OTHERS[0], "over_int8": [1.0, 1.0, 1.0]},
    ]
    assert [c.measured for c in int8.claims(rows)] == [2.5, 0.99, 1.0]
    assert [c.measured for c in int8.claims(rows[1:])] == [1.0]


def test_every_network_is_one_of_the_zoo() -> None:
    """A misspelt name would be found when the environment is at hand, that is hardly ever."""
    assert {*int8.CONVOLUTIONAL, *int8.OTHERS} <= set(NETWORKS)


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (RuntimeError("not traced: no module named timm"), "not traced: no module named timm"),
        (RuntimeError("it failed:\nTraceback\nErr: no room"), "Err: no room"),
        (subprocess.TimeoutExpired("zoo", 900), "not done after 900 s"),
    ],
)
def test_what_is_not_measured_is_a_row_with_the_reason(
    error: Exception, note: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the zoo's environment, after a crash or in too long a time there are no figures, and the row says so."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(int8, "_traced", fails)
    row = int8._row("tv_resnet18", tmp_path, 0.1)
    assert row["over_int8"] is None
    assert row["note"] == note


def test_a_run_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each row is kept at once; those that are there are not measured again unless they are named."""
    monkeypatch.setattr(kept, "RESULTS", tmp_path)
    monkeypatch.setattr(int8, "RESULTS", tmp_path)
    monkeypatch.setattr(int8, "CONVOLUTIONAL", ("a", "b", "c"))
    monkeypatch.setattr(int8, "OTHERS", ())
    asked: list[str] = []

    def row(name: str, *_: object) -> dict[str, object]:
        if name == "c" and len(asked) < 3:
            raise KeyboardInterrupt
        asked.append(name)
        return {"network": name, "over_int8": [1.0 + len(asked)], "note": "", "cpu": kept.cpu()}

    monkeypatch.setattr(int8, "_row", row)
    run = CliRunner().invoke
    path = tmp_path / "int8-zoo.json"
    run(int8.main, ["--out", str(path)])
    assert [one["network"] for one in json.loads(path.read_text())["rows"]] == ["a", "b"]
    run(int8.main, ["--out", str(path), "--network", "tv_resnet18"], catch_exceptions=False)
    run(int8.main, ["--out", str(path)], catch_exceptions=False)
    assert asked == ["a", "b", "tv_resnet18", "c"]


def test_a_network_in_8_bits_is_told_level_by_level(canonical, tmp_path: Path) -> None:
    """What a build makes of it, timed; here a few convolutions."""
    canonical("conv").save(tmp_path / "conv.onnx")
    row = int8_one.measured(str(tmp_path / "conv.onnx"), 0.1)
    levels = len(CanonicalGraph.load(tmp_path / "conv.onnx").ladder)
    assert len(row["over_int8"]) == levels
    assert row["variant"] in {"nested-int8", "ort-int8", None}
