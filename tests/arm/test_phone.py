"""A phone behind a real adbd, with Android's shell and tools: hashes, then numbers there; it goes offline midway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deploy.test_native import other_answer, other_weight
from support.bundles import model, rehash
from support.native_verifier import runtime

from benchmarks.phone import missing_tools, phone
from elsa_edge.bundle import open_bundle

pytestmark = [
    pytest.mark.arm,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing_tools()), reason=f"needs: apt-get install {' '.join(missing_tools())}"),
]


@pytest.fixture(scope="module")
def pixel(tmp_path_factory):
    """A phone, a folder, and a function that runs our command as a person would."""
    folder = tmp_path_factory.mktemp("phone")
    with phone(folder / "pixel") as running:
        variables = {**os.environ, "PATH": running.path(), "ELSA_EDGE_DEVICES": str(folder / "devices")}

        def run(*words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "elsa_edge", *words]
            done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == expect, done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            return done

        run("device", "add", "pixel", running.address, "--root", str(folder / "a store"))
        for number in (1, 2):
            run(
                "build", str(model("conv")), "--device", str(folder / "devices/pixel.yaml"), "--variant", "ort-levels",
                "-o", str(folder / f"bundle{number}"),
            )  # fmt: skip
        manifest = folder / "bundle2" / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"provenance": {"number": 2}}))
        yield running, folder, run


@pytest.fixture(scope="module")
def verifier(tmp_path_factory) -> Path:
    """The verifier, built as docs/deploy.md says, for this stand-in's processor instead of by the NDK."""
    if shutil.which("cmake") is None:
        pytest.skip("needs: apt-get install cmake g++")
    place, sources = tmp_path_factory.mktemp("verifier"), Path(__file__).parents[2] / "clients" / "cpp"
    subprocess.run(["cmake", "-S", sources, "-B", place], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", place, "--target", "elsa-verify"], check=True, capture_output=True)
    return place / "elsa-verify"


def serving(folder: Path) -> str:
    return open_bundle(folder / "a store" / "current" / "bundle").identity


def test_a_phone_gets_a_bundle_and_says_that_only_hashes_were_checked(pixel) -> None:
    _, folder, run = pixel
    facts = json.loads(run("device", "check", "pixel", "--json").stdout)
    outcome = json.loads(run("deploy", str(folder / "bundle1"), "--to", "pixel", "--json").stdout)

    assert facts["model"] == "Pixel 6"
    assert outcome["state"] == "deployed"
    assert outcome["checked"] == "hashes only, on the device"
    assert "no native verifier for android on x86-64 is here" in outcome["packages_reason"]
    assert serving(folder) == open_bundle(folder / "bundle1").identity


def test_with_a_verifier_numbers_are_verified_on_the_phone_and_decide(pixel, verifier, tmp_path) -> None:
    """Right ones come into service; other answers or weights, with hashes that fit, leave the phone as it was."""
    _, folder, run = pixel
    run("device", "verifier", "pixel", str(verifier), "--runtime", str(runtime()))
    outcome = json.loads(run("deploy", str(folder / "bundle2"), "--to", "pixel", "--json").stdout)

    assert outcome["checked"] == "numbers at every level, by the native client, on the device"
    assert [len(variant["levels"]) for variant in outcome["verify"]["variants"] if variant["ok"]] == [3]
    assert outcome["first_runs"]["runs"] >= 1
    assert serving(folder) == open_bundle(folder / "bundle2").identity
    before = state(folder)
    for harm in (other_answer, other_weight):
        bad = tmp_path / harm.__name__
        shutil.copytree(folder / "bundle1", bad)
        harm(bad)
        rehash(bad)
        said = run("deploy", str(bad), "--to", "pixel", expect=1).stderr
        assert "the release does not verify" in said
        assert state(folder) == before
    checked = json.loads(run("device", "check", "pixel", "--numbers", "--json").stdout)
    assert checked["verify"]["ok"]
    shutil.rmtree(folder / "devices" / "verifiers")


def state(folder: Path) -> tuple[str, list[str]]:
    """What serves, and which releases lie there."""
    return serving(folder), sorted(path.name for path in (folder / "a store" / "releases").iterdir())


def test_a_phone_that_goes_offline_serves_what_it_served_and_the_next_try_succeeds(pixel) -> None:
    """Before a deployment, and in the middle of one, at three moments."""
    running, folder, run = pixel
    run("deploy", str(folder / "bundle1"), "--to", "pixel")
    for delay_s in (0.0, 0.3, 0.8):
        command = [sys.executable, "-m", "elsa_edge", "deploy", str(folder / "bundle2"), "--to", "pixel"]
        variables = {**os.environ, "PATH": running.path(), "ELSA_EDGE_DEVICES": str(folder / "devices")}
        deploying = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)
        lock = folder / "a store" / "lock"
        while not lock.exists() and deploying.poll() is None:
            time.sleep(0.01)
        time.sleep(delay_s)
        running.go_offline()
        said = deploying.communicate()[1]
        if deploying.returncode:
            assert "The line to 127.0.0.1:5777 broke" in said
        assert serving(folder) in {open_bundle(folder / f"bundle{n}").identity for n in (1, 2)}
        assert "The line to" in run("device", "check", "pixel", expect=1).stderr
        running.come_back()
        run("deploy", str(folder / "bundle2"), "--to", "pixel")
        assert serving(folder) == open_bundle(folder / "bundle2").identity
        run("deploy", str(folder / "bundle1"), "--to", "pixel")
