"""`elsa-edge devices` from the outside."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from elsa_edge.cli import cli
from elsa_edge.profiles import load_profile, profile_names


def call(*arguments: str):
    return CliRunner().invoke(cli, ["devices", *arguments], catch_exceptions=False)


def test_list_names_every_profile():
    result = call("list", "--json")

    assert result.exit_code == 0
    assert [device["name"] for device in json.loads(result.stdout)["devices"]] == profile_names()
    assert all(name in call("list").stdout for name in profile_names())


def test_show_prints_yaml_that_loads_and_json(tmp_path):
    """What is shown can be saved and used."""
    path = tmp_path / "copy.yaml"
    path.write_text(call("show", "raspberry-pi-5").stdout)

    assert load_profile(path) == load_profile("raspberry-pi-5")
    assert json.loads(call("show", str(path), "--json").stdout)["name"] == "raspberry-pi-5"


def test_new_writes_a_profile_of_that_name(tmp_path):
    path = tmp_path / "mine.yaml"

    result = call("new", "mine", "--from", "raspberry-pi-zero-2w", "-o", str(path), "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["profile"]["name"] == "mine"
    assert load_profile(path).hardware == load_profile("raspberry-pi-zero-2w").hardware
    assert json.loads(call("check", str(path), "--json").stdout) == {
        "file": str(path),
        "ok": True,
        "errors": [],
        "warnings": [],
    }


def test_new_replaces_nothing_unless_forced(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("precious")

    refused = call("new", "mine", "-o", str(path))
    assert (refused.exit_code, path.read_text()) == (2, "precious")
    assert "--force" in refused.stderr
    assert call("new", "mine", "-o", str(path), "--force").exit_code == 0
    assert load_profile(path).name == "mine"


def test_check_lists_every_mistake(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("name: X\nhardware: {arch: aarch64, cores: 0, memory_mb: 9}\nvariants: [a]\n")

    result = call("check", str(path), "--json")

    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    assert ["line 1" in report["errors"][0], "line 2" in report["errors"][1]] == [True, True]
    assert result.stderr.count("Error:") == 2


def test_check_warns_of_names_that_nobody_offers(tmp_path):
    """A third party's exporter may be installed elsewhere, so it is a warning."""
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nhardware: {arch: aarch64, cores: 1, memory_mb: 900}\nvariants: [ort-swich]\n")

    result = call("check", str(path))

    assert result.exit_code == 0
    assert "'ort-swich'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "raspbery-pi-4"], 2, "Nearest: 'raspberry-pi-4'"),
        (["check", "missing.yaml"], 1, "no device profile at missing.yaml"),
        (["new", "Bad Name", "-o", "x.yaml"], 2, "lower-case letters"),
        (["list", "--nope"], 2, "No such option"),
    ],
)
def test_mistakes_are_sentences(arguments, code, message):
    result = call(*arguments)

    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_check_warns_of_more_threads_than_cores(tmp_path):
    """They would only wait for each other; the profile can be read all the same."""
    path = tmp_path / "mine.yaml"
    text = call("show", "raspberry-pi-5").stdout
    path.write_text(text.replace("threads: 4", "threads: 8"))

    result = call("check", str(path), "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["warnings"] == [
        "runtime.threads is 8, hardware.cores is 4: threads would wait for each other."
    ]
