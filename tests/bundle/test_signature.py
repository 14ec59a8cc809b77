"""Signatures by OpenSSH itself: who signed, what was changed, what is older."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.bundles import bundle

from benchmarks.sshd import make_key
from elsa_edge.bundle.signature import Accepted, check_counter, check_signature, read_keys, sign_bundle
from elsa_edge.errors import BundleError, RuntimeUnavailableError, UsageError
from elsa_edge.loading import open_for
from elsa_edge.session import AdaptiveSession

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH here")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return folder / "ours", make_key(folder / "ours"), folder / "theirs", make_key(folder / "theirs")


def signed(folder: Path, key: Path, counter: int = 5) -> Path:
    shutil.copytree(bundle("conv"), folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"counter": counter}))
    sign_bundle(folder, key)
    return folder


def test_a_signed_bundle_opens_with_the_key_its_line_or_its_file(keys, tmp_path) -> None:
    ours, line, _, other = keys
    folder = signed(tmp_path / "b", ours)

    assert check_signature(folder, [line]) == check_signature(folder, [other, ours.with_suffix(".pub")])
    with AdaptiveSession.open(folder, trusted_keys=[line], cache=False) as session:
        assert session.bundle.manifest.counter == 5


def test_what_is_not_signed_as_demanded_does_not_open(keys, tmp_path) -> None:
    """Unsigned; by another key; another manifest; another file; a signature made for another purpose."""
    ours, line, theirs, _ = keys
    with pytest.raises(BundleError, match="is not signed"):
        AdaptiveSession.open(bundle("conv"), trusted_keys=[line])
    with pytest.raises(BundleError, match="not signed by a trusted key"):
        AdaptiveSession.open(signed(tmp_path / "theirs", theirs), trusted_keys=[line])
    changed = signed(tmp_path / "changed", ours)
    data = json.loads((changed / "manifest.json").read_text())
    (changed / "manifest.json").write_text(json.dumps(data | {"name": "evil"}))
    with pytest.raises(BundleError, match="or was changed afterwards"):
        AdaptiveSession.open(changed, trusted_keys=[line])
    file = signed(tmp_path / "file", ours)
    model = file / "ort-switch" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        AdaptiveSession.open(file, trusted_keys=[line])
    import subprocess

    misused = signed(tmp_path / "misused", ours)
    (misused / "manifest.json.sig").unlink()
    subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-q", "-f", str(ours), "-n", "file", str(misused / "manifest.json")],
        check=True,
        capture_output=True,
    )
    with pytest.raises(BundleError, match="not signed by a trusted key"):
        AdaptiveSession.open(misused, trusted_keys=[line])


def test_a_profile_can_demand_a_signature(keys, tmp_path) -> None:
    """The device's own profile, whatever the bundle carries."""
    _, line, _, _ = keys
    _, profile = open_for(bundle("conv"), None)
    demand = profile.deploy.model_copy(update={"require_signature": True, "trusted_keys": (line,)})
    with pytest.raises(BundleError, match="is not signed"):
        AdaptiveSession.open(bundle("conv"), profile.model_copy(update={"deploy": demand}))


def test_older_bundles_and_twins_are_refused_by_the_counter() -> None:
    accepted = Accepted(5, "a" * 64)

    check_counter(6, "b" * 64, accepted)
    check_counter(5, "a" * 64, accepted)
    check_counter(0, "b" * 64, None)
    for counter, identity, said in (
        (4, "a" * 64, "older"),
        (5, "b" * 64, "same counter"),
        (None, "a", "no counter"),
    ):
        with pytest.raises(BundleError, match=said):
            check_counter(counter, identity, accepted)


def test_a_damaged_counter_lets_nothing_pass() -> None:
    assert Accepted.parse("") is None
    assert Accepted.parse(Accepted(7, "x").render()) == Accepted(7, "x")
    for text in ("7", "x y", "-1 a", "7 a b"):
        with pytest.raises(BundleError, match="damaged"):
            Accepted.parse(text)


def test_only_ed25519_keys_are_trusted(tmp_path) -> None:
    for wrong in (
        "ssh-rsa AAAAB3Nza",
        "ecdsa-sha2-nistp256 AAAA",
        str(tmp_path / "none.pub"),
        "ssh-ed25519 AAAA\nx",
    ):
        with pytest.raises(UsageError, match="public key"):
            read_keys([wrong])
    with pytest.raises(UsageError, match="no key to trust"):
        read_keys([])


def test_without_openssh_nothing_is_trusted(keys, tmp_path, monkeypatch) -> None:
    folder = signed(tmp_path / "b", keys[0])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailableError, match="nothing is trusted"):
        check_signature(folder, [keys[1]])
