"""Numbers on a device without Python: the native client's verifier travels, runs there, and decides."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from deploy.test_pure import facts
from support.bundles import model, rehash, slim
from support.native_verifier import compiler, program, runtime

from elsa_edge.build import build_bundle
from elsa_edge.bundle import open_bundle
from elsa_edge.deploy import Device, DeviceError, Options, deploy, look, prove_again
from elsa_edge.deploy.native import find_verifier, keep_verifier
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.packages import choose_packages
from elsa_edge.deploy.transport import LocalTransport
from elsa_edge.errors import UsageError

pytestmark = pytest.mark.skipif(compiler() is None or os.uname().machine != "x86_64", reason="needs c++")

LEVELS = 3


@pytest.fixture(scope="module")
def devices(tmp_path_factory) -> Path:
    """What is known of devices, with a verifier for those like this machine."""
    folder = tmp_path_factory.mktemp("devices")
    keep_verifier(folder, "linux", "x86-64", program=program(), runtime=runtime(), kernels=None)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A bundle with two variants that the verifier runs, and one that needs kernels."""
    folder = tmp_path_factory.mktemp("built") / "bundle"
    build_bundle(model("conv"), "generic-x86-64", folder, variants=("ort-levels", "ort-switch", "ort-nested"))
    return folder


@pytest.fixture
def bare(tmp_path, devices):
    """A device without Python: its store, and a function that deploys there."""
    device = Device("bare", "local:", str(tmp_path / "a store's"), "/nonexistent")
    found, _ = look(LocalTransport(), device)
    profile = profile_of("bare", found)
    options = Options(packages="none", trial_s=0.0, devices=devices)

    def put(bundle: Path):
        return deploy(bundle, device, profile, options, tell=lambda _: None)

    return device, put


def serving(device: Device) -> str:
    return open_bundle(Path(device.root, "current", "bundle")).identity


def changed(source: Path, target: Path, change) -> Path:
    """A copy of a bundle in which something was changed, with hashes that fit."""
    shutil.copytree(source, target)
    change(target)
    rehash(target)
    return target


def other_answer(folder: Path) -> None:
    """Change one golden answer of the level in the middle."""
    with np.load(folder / "golden.npz") as golden:
        arrays = {name: golden[name] for name in golden.files}
    name = next(name for name in arrays if name.startswith("output/1/"))
    arrays[name] = arrays[name] * 1.5
    np.savez(folder / "golden.npz", **arrays)


def other_weight(folder: Path) -> None:
    """Change the weights of one level's file: those bytes are float32 numbers, and their exponents change."""
    path = max((folder / "ort-levels").rglob("*.onnx"), key=lambda found: found.stat().st_size)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0x40 for byte in data[middle : middle + 64])
    path.write_bytes(data)


def test_right_numbers_come_into_service_and_the_verifier_travels_once(bare, built, tmp_path) -> None:
    """The answer has every level, first runs are made, and the release's own command asks again."""
    device, put = bare
    first = put(built)
    second = put(changed(built, tmp_path / "second", lambda folder: rename(folder, "second")))

    answer = first.verified
    told = first.as_json()
    assert told["checked"] == "numbers at every level, by the native client, on the device"
    assert "ort-nested are the application's" in told["packages_reason"]
    assert {v["name"]: len(v["levels"]) for v in answer["variants"]} == {
        "ort-levels": LEVELS, "ort-switch": LEVELS, "ort-nested": 0,
    }  # fmt: skip
    assert answer["variants"][2]["skipped"] == "it needs libelsa_nested.so"
    assert first.first_runs["runs"] >= 1
    assert first.moved_bytes > runtime().stat().st_size
    assert second.moved_bytes < 100_000
    assert serving(device) == open_bundle(tmp_path / "second").identity
    assert put(tmp_path / "second").state == "unchanged"
    assert prove_again(device)["ok"]
    command = Path(device.root, "current", "elsa-edge")
    done = subprocess.run(
        [command, "verify", command.parent / "bundle"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["ok"]


def rename(folder: Path, name: str) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(data | {"name": name}))


@pytest.mark.parametrize(
    ("change", "said"),
    [(other_answer, "ort-levels.*is outside the contract"), (other_weight, "does not verify")],
)
def test_wrong_numbers_never_come_into_service_and_the_device_stays_as_it_was(
    bare, built, tmp_path, change, said
) -> None:
    """Hashes fit, so only numbers tell."""
    device, put = bare
    bad = changed(built, tmp_path / "bad", change)
    with pytest.raises(DeviceError, match=said):
        put(bad)
    assert not Path(device.root, "current").exists()
    put(built)
    with pytest.raises(DeviceError, match=said):
        put(bad)

    assert serving(device) == open_bundle(built).identity
    assert [path.name for path in Path(device.root, "releases").iterdir()] == [
        Path(device.root, "current").readlink().name
    ]
    assert prove_again(device)["ok"]


def test_what_is_damaged_on_the_device_is_noticed_and_the_next_deployment_repairs_it(bare, built) -> None:
    """A weight of the release in service, and the verifier itself."""
    device, put = bare
    put(built)
    weight = next(Path(device.root, "current", "bundle", "ort-levels").rglob("*.onnx"))
    spoil(weight)
    with pytest.raises(DeviceError, match="damaged"):
        prove_again(device)
    blobs = [path for path in Path(device.root, "blobs").iterdir() if path.stat().st_mode & stat.S_IXUSR]
    assert len(blobs) == 1
    spoil(blobs[0])

    assert put(built).state == "deployed"
    assert prove_again(device)["ok"]


def spoil(path: Path) -> None:
    """Change a byte in the middle, as a worn card does: neither size nor mode tells."""
    mode, data = path.stat().st_mode, bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


def test_a_verifier_that_cannot_run_there_lets_nothing_in(bare, built, tmp_path) -> None:
    """Its runtime is another library: what cannot be proved is refused, in words."""
    device, put = bare
    empty = tmp_path / "libempty.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "/dev/null", "-o", empty], check=True)
    keep_verifier(tmp_path, "linux", "x86-64", program=program(), runtime=empty, kernels=None)
    options = Options(packages="none", trial_s=0.0, devices=tmp_path)
    found, _ = look(LocalTransport(), device)
    put(built)
    with pytest.raises(DeviceError, match="is not ONNX Runtime"):
        deploy(slim(tmp_path / "other"), device, profile_of("bare", found), options, tell=lambda _: None)
    assert serving(device) == open_bundle(built).identity


def test_a_verifier_is_for_one_kind_of_device_and_replaced_as_a_whole(tmp_path) -> None:
    archive = tmp_path / "onnxruntime.aar"
    with zipfile.ZipFile(archive, "w") as made:
        made.write(runtime(), "jni/x86_64/libonnxruntime.so")
    text = tmp_path / "text"
    text.write_text("no program")
    kinds = {"program": program(), "runtime": archive, "kernels": None}
    for wrong in ({"program": text}, {"runtime": text}, {"kernels": text}, {"program": tmp_path / "none"}):
        with pytest.raises(UsageError):
            keep_verifier(tmp_path, "android", "x86-64", **(kinds | wrong))
    with pytest.raises(UsageError, match="64-bit"):
        keep_verifier(tmp_path, "android", "armv7l", **kinds)
    with pytest.raises(UsageError, match=r"not for this device.*aarch64.*x86-64"):
        keep_verifier(tmp_path, "android", "aarch64", **kinds)
    assert find_verifier(tmp_path, "android", "x86-64") is None

    keep_verifier(tmp_path, "android", "x86-64", **(kinds | {"kernels": runtime()}))
    kept = keep_verifier(tmp_path, "android", "x86-64", **kinds)
    assert find_verifier(tmp_path, "android", "x86-64") == kept
    assert [file.path for file in kept.files] == ["elsa-verify", "libonnxruntime.so"]
    assert find_verifier(tmp_path, "linux", "x86-64") is None
    assert find_verifier(None, "android", "x86-64") is None


def test_only_hashes_are_checked_where_nothing_can_ask_for_numbers_and_the_reason_says_why(
    devices, built
) -> None:
    phone = facts(os="android", arch="x86-64", pythons=())
    verifier = find_verifier(devices, "linux", "x86-64")
    assert verifier is not None
    variants = open_bundle(built).manifest.variants
    nested = [variant for variant in variants if variant.name == "ort-nested"]

    without = choose_packages(phone, variants, "auto", "1", None)
    only_nested = choose_packages(phone, nested, "auto", "1", verifier)
    both = choose_packages(phone, variants, "auto", "1", verifier)

    assert (without.kind, only_nested.kind, both.kind) == ("none", "none", "native")
    assert "no native verifier for android on x86-64" in without.reason
    assert "does not run ort-nested" in only_nested.reason
    assert both.python is None
