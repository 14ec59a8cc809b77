"""The benchmarks of export and switching, on a network small enough for a test: their plumbing, not their figures."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import export, switching
from benchmarks.networks import NETS, Net
from benchmarks.networks.dense import tiny


@pytest.fixture
def nets(monkeypatch):
    """Let the quick run's network be the tiny one."""
    monkeypatch.setitem(NETS, "mlp", Net(tiny, (1, 16)))


def report_of(command, path):
    done = CliRunner().invoke(command, ["--quick", "--json", "--out", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(path.read_text())


def test_switching_reports_every_level_of_every_variant_against_plain_dense(nets, tmp_path):
    report = report_of(switching.main, tmp_path / "report.json")
    rows = report["rows"]
    latency = [(row["variant"], row.get("level")) for row in rows if row["what"] == "latency"]
    memory = {row["variant"]: row["anonymous_bytes"] for row in rows if row["what"] == "memory"}

    assert latency == [("plain dense", None)] + [
        (v, k) for v in ("ort-switch", "ort-levels") for k in range(3)
    ]
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows if "ratio_low" in row)
    assert set(memory) == {"plain dense", "ort-switch", "ort-levels"}
    assert min(memory.values()) > 0
    assert [claim["target"] for claim in report["claims"]] == [1.03, 1.03, 1.25, 1.15, 50]


def test_the_claims_of_switching_are_about_the_worst_case():
    rows = [
        {"net": net, "what": what, "variant": variant, "ratio": ratio}
        for net, ratio in (("a", 1.0), ("b", 1.04))
        for what in ("latency", "switch", "memory")
        for variant in ("ort-switch", "ort-levels")
    ]
    claims = switching._claims([*rows, {"what": "decision", "us": 20.0}])

    assert [claim.measured for claim in claims] == [1.04, 1.04, 1.04, 1.04, 20.0]
    assert [claim.holds for claim in claims] == [False, False, True, True, True]
    assert "a, b" in claims[0].claim


def test_export_times_the_commands_and_weighs_the_bundle(nets, monkeypatch, tmp_path):
    times = []

    def timed(*arguments):
        times.append(arguments[0])
        return real(*arguments)

    real = export._timed
    monkeypatch.setattr(export, "_timed", timed)
    monkeypatch.setattr(export, "VARIANTS", ("ort-levels",))
    report = report_of(export.main, tmp_path / "report.json")
    (row,) = [row for row in report["rows"] if row["what"] == "bundle"]

    assert times[:3] == ["export", "build", "verify"]
    assert set(times[3:]) == {"--help"}
    assert row["ratio"] == pytest.approx(row["bundle_bytes"] / row["dense_bytes"], abs=1e-4)
    assert row["wall_s"] == pytest.approx(row["export_s"] + row["build_s"] + row["verify_s"], abs=0.02)
    assert [claim["target"] for claim in report["claims"]] == [1.3, 60, 0.3]
