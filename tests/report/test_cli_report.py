"""`elsa-edge report` on real bundles, and on what people give it by mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.bundles import bundle
from support.records import record

from elsa_edge.bundle import open_bundle
from elsa_edge.cli import cli
from elsa_edge.control.history import ChosenBy, RunEvent
from elsa_edge.control.record import TraceRecorder
from elsa_edge.control.state import Decision, Reason
from elsa_edge.loading import resolve_profile
from elsa_edge.profiles import save_profile
from elsa_edge.profiles.schema import Measured, MeasuredLevel

DECISION = Decision(0, Reason.HOLD, True, None, 1.0, 0.0)


def report(*arguments):
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


def profile_of(opened, **changes):
    """Return the bundle's profile with a table for it."""
    levels = tuple(
        MeasuredLevel(name=level.name, p50_ms=1.0 + k, p95_ms=1.5 + k, memory_bytes=10**6)
        for k, level in enumerate(opened.ladder)
    )
    table = Measured(bundle=opened.identity, variant="ort-switch", levels=levels)
    return resolve_profile(opened, None).model_copy(update={"measured": table.model_copy(update=changes)})


def test_a_measured_bundle_gives_every_form(tmp_path):
    """Measured once here; the JSON is then the source of the page and of a comparison with itself."""
    measure = ("--measure", "--variant", "ort-switch", "--seconds", 0.2, "--cache", tmp_path / "cache")
    made = report(bundle("conv"), *measure, "-o", tmp_path / "r.json", "--json")
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)
    assert found["advice"].startswith("Ship ")
    rows = found["record"]["rows"]
    assert {row["variant"] for row in rows} == {"onnx-selector", "ort-levels", "ort-switch"}
    rows = [row for row in rows if row["variant"] == "ort-switch"]
    assert all(row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] and row["memory_bytes"] > 0 for row in rows)
    assert all(check["ok"] for check in found["record"]["checks"])
    layers = {layer["name"]: layer["densities"] for layer in found["record"]["layers"]}
    assert all(shares == sorted(shares) for shares in layers.values())

    page = report(tmp_path / "r.json", "-o", tmp_path / "r.html", "--against", tmp_path / "r.json")
    assert page.exit_code == 0, page.output
    assert "Against the older report" in (tmp_path / "r.html").read_text()
    text = report(tmp_path / "r.html", "-o", tmp_path / "r.md")
    assert text.exit_code == 0, text.output
    assert "| ort-switch · s90" in (tmp_path / "r.md").read_text()


def test_a_bundle_never_measured_says_what_is_missing_and_how_to_get_it(tmp_path):
    made = report(bundle("conv"), "-o", tmp_path / "r.html")
    assert made.exit_code == 0, made.output
    assert "nothing was measured" in made.stdout
    assert f"elsa-edge report {bundle('conv')} --measure" in made.stdout
    assert "Not known yet" in (tmp_path / "r.html").read_text()


def test_a_profile_and_a_recorded_run_go_into_the_report(tmp_path):
    save_profile(profile_of(open_bundle(bundle("conv"))), tmp_path / "d.yaml")
    (tmp_path / "run.csv").write_text(
        "level,latency_ms,idle_ms,late,reason\n2,5,0,0,start\n1,4,1,1,too-slow\n1,3,1,0,hold\n"
    )
    made = report(
        bundle("conv"), tmp_path / "d.yaml", tmp_path / "run.csv", "-o", tmp_path / "r.json", "--json"
    )
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)["record"]
    assert [row["p50_ms"] for row in found["rows"] if row["variant"] == "ort-switch"] == [1.0, 2.0, 3.0]
    runs = [(run["at_ms"], run["level"], run["late"]) for run in found["runs"]]
    assert runs == [(5, 2, False), (10, 1, True), (14, 1, False)]
    alone = report(tmp_path / "d.yaml", "-o", tmp_path / "p.md")
    assert alone.exit_code == 0, alone.output


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("level,latency_ms\n0,5\n1", "line 3 is cut off"),
        ("level,latency_ms\n7,5\n", "level of 0 to 2"),
        ("level,latency_ms\n0,fast\n", "not a number"),
        ("level,latency_ms\n", "is empty"),
        ("a,b\n1,2\n", "not a recorded run"),
    ],
)
def test_half_a_run_is_refused_with_its_line(tmp_path, content, reason):
    (tmp_path / "run.csv").write_text(content)
    made = report(bundle("conv"), tmp_path / "run.csv", "-o", tmp_path / "r.html")
    assert made.exit_code == 1
    assert reason in made.stderr
    assert not (tmp_path / "r.html").exists()


def test_a_profile_of_another_bundle_is_refused(tmp_path):
    save_profile(profile_of(open_bundle(bundle("conv")), bundle="cd" * 32), tmp_path / "d.yaml")
    made = report(bundle("conv"), tmp_path / "d.yaml", "-o", tmp_path / "r.html")
    assert made.exit_code == 1
    assert "measured with another bundle" in made.stderr


def test_two_devices_are_two_reports(tmp_path):
    mine = profile_of(open_bundle(bundle("conv")))
    save_profile(mine, tmp_path / "a.yaml")
    save_profile(mine.model_copy(update={"name": "other-board"}), tmp_path / "b.yaml")
    made = report(bundle("conv"), tmp_path / "a.yaml", tmp_path / "b.yaml", "-o", tmp_path / "r.html")
    assert made.exit_code == 1
    assert "different devices" in made.stderr
    (tmp_path / "old.json").write_text(record(device="elsewhere").model_dump_json())
    against = report(bundle("conv"), "-o", tmp_path / "r.html", "--against", tmp_path / "old.json")
    assert against.exit_code == 1
    assert "different devices" in against.stderr
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("none.html",), 1, "nothing at"),
        (("x.txt",), 1, "unknown kind"),
        (("plain.yaml",), 1, "no measured table"),
        (("plain.yaml", "--measure"), 2, "Only a bundle can be measured"),
        (("r.json", "r.json2.json"), 2, "of one bundle"),
        (("r.json", "--variant", "x"), 2, "Add --measure"),
    ],
)
def test_what_cannot_be_reported_is_said(tmp_path, monkeypatch, arguments, code, reason):
    monkeypatch.chdir(tmp_path)
    opened = open_bundle(bundle("conv"))
    save_profile(resolve_profile(opened, None), tmp_path / "plain.yaml")
    (tmp_path / "x.txt").write_text("hello")
    for name in ("r.json", "r.json2.json"):
        (tmp_path / name).write_text(record().model_dump_json())
    made = report(*arguments, "-o", "out.html")
    assert (made.exit_code, reason in made.stderr) == (code, True), made.stderr


@pytest.mark.parametrize(
    ("name", "code", "reason"), [("r.pdf", 2, "not written as r.pdf"), ("file/r.html", 1, "")]
)
def test_an_unwritable_output_is_refused(tmp_path, name, code, reason):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "r.json").write_text(record().model_dump_json())
    made = report(tmp_path / "r.json", "-o", tmp_path / name)
    assert made.exit_code == code
    assert reason in made.stderr
    assert "Traceback" not in made.output


def test_a_recorded_run_alone_is_a_report(tmp_path):
    """Its levels have numbers only; what is missing is said, and each level that ran has its share and its times."""
    (tmp_path / "run.csv").write_text(
        "level,latency_ms,idle_ms,late,reason\n2,9,0,1,down-latency\n0,3,1,0,hold\n0,4,1,0,hold\n0,5,1,0,up\n"
    )
    made = report(tmp_path / "run.csv", "-o", tmp_path / "r.md")
    assert made.exit_code == 0, made.output
    text = (tmp_path / "r.md").read_text()
    assert "| level 0 | 75 % | 4.00 | 5.00 | 5.00 | 0 % |" in text
    assert "| level 2 | 25 % | 9.00 | 9.00 | 9.00 | 100 % |" in text
    assert "With the bundle: `elsa-edge report BUNDLE run.csv -o report.html`" in text


def recorded(path: Path, **origin: str) -> Path:
    """Record one run at level 1."""
    with TraceRecorder(path, [1, 1, 1], **origin) as record:
        record(RunEvent(5.0, 1, ChosenBy.CONTROLLER, 8.0, None, 0.0, None, None, None, DECISION))
        record(RunEvent(9.0, 0, ChosenBy.CONTROLLER, 8.0, None, 0.0, None, None, None, DECISION))
    return path


def test_a_run_of_this_bundle_and_device_goes_into_its_report(tmp_path):
    opened = open_bundle(bundle("conv"))
    run = recorded(tmp_path / "run.csv", bundle=opened.identity, device=opened.manifest.device)
    made = report(bundle("conv"), run, "-o", tmp_path / "r.json", "--json")
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)["record"]
    assert [row["level"] for row in found["runs"]] == [1, 0]
    assert found["runs_bundle"] == opened.identity
    assert "could not be checked" not in made.output


@pytest.mark.parametrize("source", ["bundle", "profile", "report"])
def test_a_run_of_another_bundle_is_refused(tmp_path, source):
    """Whatever stands beside it: the bundle, a profile measured with it, or an older report of it."""
    opened = open_bundle(bundle("conv"))
    save_profile(profile_of(opened), tmp_path / "d.yaml")
    (tmp_path / "r.json").write_text(record().model_copy(update={"bundle": "ab" * 32}).model_dump_json())
    beside = {"bundle": bundle("conv"), "profile": tmp_path / "d.yaml", "report": tmp_path / "r.json"}[source]
    made = report(beside, recorded(tmp_path / "run.csv", bundle="cd" * 32), "-o", tmp_path / "x.html")
    assert made.exit_code == 1
    assert "recorded with another bundle" in made.stderr
    assert "found cdcdcdcdcdcd" in made.stderr
    assert not (tmp_path / "x.html").exists()


def test_a_run_of_another_device_is_refused(tmp_path):
    run = recorded(tmp_path / "run.csv", bundle=open_bundle(bundle("conv")).identity, device="other-board")
    made = report(bundle("conv"), run, "-o", tmp_path / "x.html")
    assert made.exit_code == 1
    assert "recorded on another device" in made.stderr
    assert "other-board" in made.stderr


def test_a_run_that_does_not_say_its_bundle_is_taken_and_that_is_said(tmp_path):
    made = report(bundle("conv"), recorded(tmp_path / "run.csv"), "-o", tmp_path / "r.md")
    assert made.exit_code == 0, made.output
    assert "could not be checked" in made.stdout
    assert "could not be checked" in (tmp_path / "r.md").read_text()


def test_two_recordings_in_one_file_are_refused(tmp_path):
    first = recorded(tmp_path / "a.csv", bundle="ab" * 32).read_text()
    second = recorded(tmp_path / "b.csv", bundle="cd" * 32).read_text()
    (tmp_path / "both.csv").write_text(first + "".join(second.splitlines(keepends=True)[1:]))
    made = report(tmp_path / "both.csv", "-o", tmp_path / "r.md")
    assert made.exit_code == 1
    assert "of more than one bundle" in made.stderr


def test_what_an_older_report_lacks_is_found_out_with_its_bundle(tmp_path):
    (tmp_path / "old.json").write_text(record().model_copy(update={"checks": ()}).model_dump_json())
    made = report(tmp_path / "old.json", "-o", tmp_path / "r.md")
    assert made.exit_code == 0, made.output
    assert "Numeric verification on this device. elsa-edge report BUNDLE --measure" in made.stdout
