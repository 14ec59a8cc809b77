"""`elsa-edge simulate` from the outside."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from elsa_edge.cli import cli
from elsa_edge.profiles import load_profile, save_profile
from elsa_edge.profiles.schema import Measured, MeasuredLevel


def call(*arguments: str):
    return CliRunner().invoke(cli, ["simulate", *arguments], catch_exceptions=False)


@pytest.fixture
def measured(tmp_path):
    levels = (
        MeasuredLevel(name="s95", p50_ms=10.0, p95_ms=11.0, accuracy=0.6, memory_bytes=20_000_000),
        MeasuredLevel(
            name="dense", p50_ms=30.0, p95_ms=33.0, switch_ms=2.0, accuracy=0.8, memory_bytes=50_000_000
        ),
    )
    profile = load_profile("generic-x86-64").model_copy(update={"measured": Measured(levels=levels)})
    save_profile(profile, tmp_path / "measured.yaml")
    return tmp_path / "measured.yaml"


def test_a_measured_profile_is_replayed(measured, tmp_path):
    """Dense until the device slows down, and again after; every run is in the log."""
    log = tmp_path / "log.csv"

    result = call(
        "--device", str(measured), "--scenario", "step", "--runs", "300", "--log", str(log), "--json"
    )

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["levels_source"], report["trace"], report["controller"]["runs"]) == (
        "measured",
        "step",
        300,
    )
    assert report["controller"]["miss_rate"] <= 0.05
    assert [level["name"] for level in report["levels"]] == ["s95", "dense"]
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [rows[k]["level"] for k in (90, 190)] == ["1", "0"]
    assert sum(report["reasons"].values()) == len(rows) == 300


def test_a_log_never_replaces_a_file(measured, tmp_path):
    """Least of all the recording that is replayed."""
    trace = tmp_path / "t.csv"
    trace.write_text("slowdown\n1\n")
    result = call("--device", str(measured), "--trace", str(trace), "--log", str(trace))
    assert result.exit_code == 2
    assert "exists already. Choose another name" in result.stderr
    assert trace.read_text() == "slowdown\n1\n"


def test_a_trace_file_is_replayed(measured, tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text("slowdown\n" + "1\n" * 20 + "3\n" * 20)

    report = json.loads(call("--device", str(measured), "--trace", str(trace), "--json").stdout)

    assert report["controller"]["runs"] == 40
    assert report["controller"]["level_share"][0] > 0.3


@pytest.mark.parametrize(("recorded", "noted"), [("b" * 12, True), ("a" * 12, False), ("", False)])
def test_a_trace_of_another_bundle_is_replayed_with_a_note(measured, tmp_path, recorded, noted):
    """Its latencies over this bundle's table are slow-downs of neither."""
    profile = load_profile(measured)
    table = profile.measured.model_copy(update={"bundle": "a" * 12})
    save_profile(profile.model_copy(update={"measured": table}), tmp_path / "named.yaml")
    trace = tmp_path / "t.csv"
    trace.write_text("level,latency_ms,bundle\n" + f"0,10,{recorded}\n" * 3)

    report = json.loads(
        call("--device", str(tmp_path / "named.yaml"), "--trace", str(trace), "--json").stdout
    )

    assert any("another bundle (bbbbbbbbbbbb)" in note for note in report["notes"]) == noted


def test_without_measurements_levels_are_assumed_aloud():
    """The reader must know that the latencies were made up."""
    result = call("--device", "raspberry-pi-5", "--runs", "60", "--json")

    assert json.loads(result.stdout)["levels_source"] == "assumed"
    assert "are assumed" in result.stderr


def test_latencies_and_budget_can_be_given():
    report = json.loads(
        call(
            "--device",
            "raspberry-pi-5",
            "--levels-ms",
            "5,9,20",
            "--budget-ms",
            "10",
            "--runs",
            "100",
            "--scenario",
            "constant",
            "--period-ms",
            "33",
            "--seed",
            "4",
            "--json",
        ).stdout
    )

    assert (report["levels_source"], report["budget_ms"]) == ("--levels-ms", 10.0)
    assert report["controller"]["level_share"][2] == 0.0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--scenario", "stepp"], 2, "Nearest: 'step'"),
        (["--scenario", "step", "--trace", "t.csv"], 2, "not both"),
        (["--trace", "none.csv"], 1, "cannot be read"),
        (["--levels-ms", "1,x"], 2, "not readable"),
        (["--levels-ms", "1,-2"], 2, "above 0"),
        (["--levels-ms", "1,1e308"], 2, "above 0, up to 1e"),
        (["--budget-ms", "0"], 2, "above 0"),
        (["--runs", "0"], 2, "Invalid value for '--runs'"),
    ],
)
def test_mistakes_are_sentences(arguments, code, message):
    result = call("--device", "raspberry-pi-5", *arguments)

    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_a_level_without_a_median_is_an_error(measured):
    profile = load_profile(measured)
    levels = (*profile.measured.levels[:1], MeasuredLevel(name="dense"))
    save_profile(profile.model_copy(update={"measured": Measured(levels=levels)}), measured)

    result = call("--device", str(measured))

    assert result.exit_code == 1
    assert "no p50_ms for dense" in result.stderr
