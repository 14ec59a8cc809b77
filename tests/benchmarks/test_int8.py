"""The benchmark of 8 bits: its plumbing on a tiny network, its claims, and that machines are never mixed."""

import json

import torch
from click.testing import CliRunner
from torch import nn

import benchmarks.int8.__main__ as int8
from benchmarks.int8 import kept
from benchmarks.networks import NETS, Net


def small() -> nn.Module:
    """Wide enough to be alive at 95 %."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 16)]
    return nn.Sequential(*layers).eval()


def test_every_level_is_timed_against_both_rivals(monkeypatch, tmp_path):
    """A quick run has a row for each rival and level, with intervals; targets are claims."""
    monkeypatch.setitem(NETS, "mlp", Net(small, (1, 64)))
    path = tmp_path / "report.json"
    done = CliRunner().invoke(int8.main, ["--quick", "--json", "--out", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    report = json.loads(path.read_text())
    assert [(row["engine"], row["sparsity"]) for row in report["rows"][:-1]] == [
        ("float32", 0.0), ("ort-int8", 0.0), *(("nested-int8", s) for s in (0.95, 0.9, 0.8, 0.0)),
    ]  # fmt: skip
    assert all(
        row["over_int8_low"] <= row["over_int8"] <= row["over_int8_high"] for row in report["rows"][:-1]
    )
    assert {"over_staying", "ladder_bytes", "first_level_bytes", "anonymous"} <= report["rows"][-1].keys()
    kept = [] if report["rows"][-1]["left_out"] else [0.97]
    assert [claim["target"] for claim in report["claims"]] == [3.0, 2.0, 1.3, *kept, 1.02, 0.3, 0.03, 0.5]


def test_rows_of_another_processor_are_dropped(monkeypatch, tmp_path):
    """An earlier file's rows stay only where they are of this processor and were not measured again."""
    monkeypatch.setattr(kept, "RESULTS", tmp_path)
    rows = [
        {"network": "a", "granularity": "1x4", "cpu": kept.cpu()},
        {"network": "b", "granularity": "1x4", "cpu": kept.cpu()},
        {"network": "c", "granularity": "1x4", "cpu": "another"},
    ]
    (tmp_path / "int8.json").write_text(json.dumps({"rows": rows}))
    found = kept.rows_kept("int8", ("network", "granularity"), [{"network": "b", "granularity": "1x4"}])
    assert [row["network"] for row in found] == ["a"]
