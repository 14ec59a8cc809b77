"""The device refuses by itself: whoever deploys has switched every check at home off."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from support.bundles import rehash, slim

import elsa_edge.deploy.prepare as home
from benchmarks.sshd import make_key
from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.signature import sign_bundle
from elsa_edge.deploy import Device, DeviceError, Options, deploy, look, rollback, trust
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.transport import LocalTransport
from elsa_edge.profiles import load_profile

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH here")


def made(folder: Path, key: Path | None, counter: int) -> Path:
    """conv's bundle with only its smallest variant, signed or not."""
    slim(folder, counter=counter)
    if key is not None:
        sign_bundle(folder, key)
    return folder


def test_tampered_rehashed_unsigned_older_and_replayed_bundles_are_refused_on_the_device(
    tmp_path, monkeypatch
) -> None:
    """After each the device serves what it served; a newer signed one is taken; going back is the owner's to do."""
    line, other = make_key(tmp_path / "ours"), tmp_path / "theirs"
    make_key(other)
    device = Device("here", "local:", str(tmp_path / "store"), sys.executable)
    facts, _ = look(LocalTransport(), device)
    profile = profile_of("here", facts)
    options = Options(trial_s=0.0, cache=tmp_path / "cache")

    def put(folder: Path) -> None:
        deploy(folder, device, profile, options, tell=lambda _: None)

    def serving() -> str:
        return open_bundle(Path(device.root, "current", "bundle")).identity

    trust(device, [line])
    ours = tmp_path / "ours"
    with pytest.raises(DeviceError, match="does not verify"):
        put(made(tmp_path / "unsigned first", None, 9))
    assert not Path(device.root, "current").exists()
    first = made(tmp_path / "first", ours, 5)
    put(first)
    served = serving()

    # nobody at home looks any more
    monkeypatch.setattr(home, "check_signature", lambda *_: "")
    tampered = made(tmp_path / "tampered", ours, 6)
    rehash_tampered(tampered)
    same_counter = made(tmp_path / "twin", None, 5)
    (same_counter / "golden.npz").write_bytes((first / "golden.npz").read_bytes())
    data = json.loads((same_counter / "manifest.json").read_text())
    (same_counter / "manifest.json").write_text(json.dumps(data | {"name": "twin"}))
    sign_bundle(same_counter, ours)
    attacks = {
        "rehashed": tampered,
        "unsigned": made(tmp_path / "unsigned", None, 7),
        "other key": made(tmp_path / "other", other, 7),
        "older": made(tmp_path / "older", ours, 4),
        "same counter": same_counter,
    }
    for name, folder in attacks.items():
        with pytest.raises(DeviceError, match="does not verify"):
            put(folder)
        assert serving() == served, name

    newer = made(tmp_path / "newer", ours, 8)
    put(newer)
    with pytest.raises(DeviceError, match="does not verify"):  # replayed: signed, whole, and old
        put(made(tmp_path / "replayed", ours, 6))
    with pytest.raises(
        DeviceError, match="does not verify"
    ):  # the release before this one: it stays to return to
        put(first)
    assert serving() == open_bundle(newer).identity
    rollback(device, options, tell=lambda _: None)
    assert serving() == served
    # It was accepted before, so it is no replay: it gets another budget.
    budget = profile.qos.model_copy(update={"latency_budget_ms": 77.0})
    deploy(first, device, profile.model_copy(update={"qos": budget}), options, tell=lambda _: None)
    assert load_profile(Path(device.root, "current", "device.yaml")).qos.latency_budget_ms == 77.0
    assert serving() == served


def test_the_way_back_is_closed_when_the_key_of_the_earlier_release_is_trusted_no_more(tmp_path) -> None:
    """And open again once it is trusted; the refusal leaves everything as it was."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours_line, theirs_line = make_key(ours), make_key(theirs)
    device = Device("here", "local:", str(tmp_path / "store"), sys.executable)
    facts, _ = look(LocalTransport(), device)
    options = Options(trial_s=0.0, cache=tmp_path / "cache")
    trust(device, [ours_line, theirs_line])
    first, second = made(tmp_path / "first", ours, 5), made(tmp_path / "second", theirs, 6)
    for folder in (first, second):
        deploy(folder, device, profile_of("here", facts), options, tell=lambda _: None)
    current = Path(device.root, "current")
    served = current.readlink()

    trust(device, [theirs_line])
    with pytest.raises(DeviceError, match=r"none of the keys that this device trusts.*earlier release"):
        rollback(device, options, tell=lambda _: None)
    assert current.readlink() == served
    trust(device, [ours_line])
    rollback(device, options, tell=lambda _: None)
    assert open_bundle(current / "bundle").identity == open_bundle(first).identity


def rehash_tampered(folder: Path) -> None:
    """Change a weight and write its new hash into the manifest, as someone who means harm would."""
    model = folder / "onnx-selector" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    rehash(folder)
