"""Over a real SSH server on loopback, with the device's own Python: the commands that people type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from support.bundles import bundle

from benchmarks.sshd import SSHD, make_key, server
from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.reader import read_manifest
from elsa_edge.deploy import Device, Options, deploy, look
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.ssh import SshTransport
from elsa_edge.deploy.transport import LocalTransport

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd here (Debian: apt-get install openssh-server)")


@pytest.fixture(scope="module")
def pi(tmp_path_factory):
    """A server, and a function that runs our command as a user of it would."""
    folder = tmp_path_factory.mktemp("with blank")
    with server(folder / "sshd") as running:
        variables = {
            **os.environ,
            "PATH": running.path(),
            "ELSA_EDGE_DEVICES": str(folder / "devices"),
            "OMP_NUM_THREADS": "1",
            "ELSA_EDGE_CACHE": str(folder / "cache"),
        }

        def run(*words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", "from elsa_edge.cli import main; main()", *words]
            done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == expect, done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            return done

        yield running, folder, run


def test_from_nothing_to_a_verified_running_bundle_in_two_commands(pi) -> None:
    """`device add`, `deploy`: numbers were checked there, first runs were made, the table came home; then nothing."""
    running, folder, run = pi
    store = folder / "the store"
    added = run(
        "device", "add", "pi", f"ssh://127.0.0.1:{running.port}", "--root", str(store), "--python", sys.executable,
        "--json",
    )  # fmt: skip
    assert json.loads(added.stdout)["arch"]

    outcome = json.loads(
        run(
            "deploy", str(bundle("conv")), "--to", "pi", "--trial", "0.1", "--measure", "0.2", "--json"
        ).stdout
    )
    assert outcome["state"] == "deployed"
    assert outcome["checked"] == "numbers at every level, on the device"
    assert all(variant["ok"] for variant in outcome["verify"]["variants"])
    assert outcome["first_runs"]["runs"] >= 1
    assert open_bundle(store / "current" / "bundle").identity == outcome["plan"]["identity"]
    assert "measured:" in (folder / "devices" / "pi.yaml").read_text()

    again = json.loads(run("deploy", str(bundle("conv")), "--to", "pi", "--json").stdout)
    assert (again["state"], again["moved_bytes"]) == ("unchanged", 0)

    checked = json.loads(run("device", "check", "pi", "--json").stdout)
    assert [r["state"] for r in checked["releases"]] == ["good"]
    assert checked["current"] == outcome["plan"]["release"]
    listed = json.loads(run("device", "list", "--json").stdout)
    assert [d["name"] for d in listed["devices"]] == ["pi"]

    run("device", "remove", "pi", "--wipe")
    assert not store.exists()


def test_a_server_that_is_not_the_one_we_know_gets_nothing(pi) -> None:
    """Unknown, changed, or it does not let us in: each is said with what to do."""
    running, _, run = pi
    known = running.folder / "known_hosts"
    right = known.read_text()
    address = f"ssh://127.0.0.1:{running.port}"
    try:
        known.write_text("")
        assert "Connect once by hand" in run("device", "add", "x", address, expect=1).stderr
        known.write_text(f"[127.0.0.1]:{running.port} {make_key(running.folder / 'other')}\n")
        assert "has changed" in run("device", "add", "x", address, expect=1).stderr
    finally:
        known.write_text(right)
    assert "could not be made" in run("device", "add", "x", "ssh://127.0.0.1:1", expect=1).stderr
    assert (
        "does not let us in"
        in run("device", "add", "x", f"ssh://nobody-here@127.0.0.1:{running.port}", expect=1).stderr
    )


def test_a_name_that_was_not_added_is_answered_with_those_that_were(pi) -> None:
    _, folder, run = pi
    assert "none was added yet" in run("deploy", "bundle", "--to", "pi6", expect=2).stderr
    run("device", "add", "pi5", "local:", "--root", str(folder / "another store"))
    assert "Nearest: 'pi5'" in run("deploy", "bundle", "--to", "pi6", expect=2).stderr
    run("device", "remove", "pi5")
    assert "Say what goes where" in run("deploy", "--to", "pi6", expect=2).stderr


def test_a_name_or_a_python_that_cannot_be_is_refused_when_it_is_added(pi) -> None:
    _, folder, run = pi
    store = ("--root", str(folder / "no store"))
    assert "comes with elsa-edge" in run("device", "add", "raspberry-pi-5", "local:", *store, expect=2).stderr
    said = run("device", "add", "x", "local:", *store, "--python", "/bin/false", expect=2).stderr
    assert "/bin/false on x cannot be used" in said
    (folder / "no store").mkdir()
    (folder / "no store" / "mine").touch()
    assert "not ours" in run("device", "add", "x", "local:", *store, expect=1).stderr
    file = folder / "no store" / "mine"
    assert "not ours" in run("device", "add", "x", "local:", "--root", str(file), expect=1).stderr


def test_what_contradicts_itself_or_names_nobody_is_refused(pi) -> None:
    _, folder, run = pi
    (folder / "fleet.txt").write_text("here\nkitchen # old\n")
    run("device", "add", "here", "local:", "--root", str(folder / "no other store"))
    words = ("--to", "here", "--export", "tar", "-o", str(folder / "o"))
    assert "Say what goes where" in run("deploy", "--rollback", *words, expect=2).stderr
    fleet = run("deploy", "bundle", "--to", str(folder / "fleet.txt"), expect=2).stderr
    run("device", "remove", "here")
    assert "names devices that were not added: found kitchen" in " ".join(fleet.split())


def test_check_says_whose_bundles_a_device_lets_in(pi) -> None:
    _, folder, run = pi
    line = make_key(folder / "release key")
    run("device", "add", "careful", "local:", "--root", str(folder / "careful"))
    run("device", "trust", "careful", str(folder / "release key.pub"))
    told = json.loads(run("device", "check", "careful", "--json").stdout)
    run("device", "remove", "careful", "--wipe")

    assert (told["trusted_keys"], told["counter"]) == ([line], None)


@pytest.mark.parametrize("rsync", [True, False], ids=["rsync", "sftp"])
def test_a_file_of_the_same_size_and_second_with_other_content_arrives(
    pi, tmp_path, monkeypatch, rsync
) -> None:
    """By rsync as by sftp; nothing is skipped because it looks alike."""
    running, _, _ = pi
    monkeypatch.setenv("PATH", running.path())
    if not rsync:
        monkeypatch.setattr(SshTransport, "allow_rsync", lambda *_: None)
    device = Device("pi", f"ssh://127.0.0.1:{running.port}", str(tmp_path / "a store"), "/nonexistent")
    facts, _ = look(LocalTransport(), device)
    options = Options(packages="none")
    for number in (1, 2):
        source = tmp_path / str(number)
        shutil.copytree(bundle("conv"), source)
        manifest = read_manifest(source)
        text = manifest.model_copy(update={"provenance": {"number": number}}).model_dump_json()
        (source / "manifest.json").write_text(text)
        deploy(source, device, profile_of("pi", facts), options, tell=lambda _: None)
        served = open_bundle(tmp_path / "a store" / "current" / "bundle")
        assert served.manifest.provenance == {"number": number}
