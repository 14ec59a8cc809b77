"""The device's side, in a real shell on a folder of this machine: release after release, cut anywhere, never half."""

from __future__ import annotations

import dataclasses
import random
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support.bundles import bundle

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.reader import read_manifest
from elsa_edge.deploy import (
    BusyError,
    Device,
    DeviceError,
    IncompatibleError,
    Options,
    deploy,
    look,
    rollback,
    wipe_store,
)
from elsa_edge.deploy.agent import parse_reply, script
from elsa_edge.deploy.errors import LineError
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.transport import LocalTransport
from elsa_edge.errors import BundleError
from elsa_edge.files import sha256_of

# Without the device's Python: what a phone gets, and quick. test_on_devices.py has the whole.
QUICK = Options(packages="none", measure_s=0.0)


def silent(_: str) -> None:
    """Nobody watches."""


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A store whose path has a blank and a quote in it."""
    return Device("here", "local:", str(tmp_path / "a store's"), python="/nonexistent")


@pytest.fixture
def profile(device: Device):
    facts, _ = look(LocalTransport(), device)
    return profile_of("here", facts)


def variation(folder: Path, text: str) -> Path:
    """A bundle like conv's, of another identity, and only that differs."""
    shutil.copytree(bundle("conv"), folder)
    path = folder / "manifest.json"
    manifest = read_manifest(folder)
    path.write_text(manifest.model_copy(update={"provenance": {"variation": text}}).model_dump_json())
    return folder


def serving(device: Device) -> Path:
    return Path(device.root, "current", "bundle")


def put(source: Path, device: Device, profile, options: Options = QUICK):
    return deploy(source, device, profile, options, tell=silent)


def test_a_bundle_is_in_service_whole_and_the_second_time_nothing_happens(device, profile) -> None:
    first = put(bundle("conv"), device, profile)
    again = put(bundle("conv"), device, profile)

    assert first.state == "deployed"
    assert (
        first.moved_bytes
        == sum(entry.size_bytes for entry in open_bundle(bundle("conv")).manifest.files)
        + (bundle("conv") / "manifest.json").stat().st_size
    )
    assert open_bundle(serving(device)).identity == open_bundle(bundle("conv")).identity
    assert (again.state, again.moved_bytes) == ("unchanged", 0)
    assert "hashes only" in first.as_json()["checked"]


def test_no_file_of_a_release_has_a_second_name(device, profile) -> None:
    """ONNX Runtime 1.32 refuses weights in a file with hard links."""
    put(bundle("conv"), device, profile)
    files = [path for path in serving(device).rglob("*") if path.is_file()]

    assert files
    assert {path.stat().st_nlink for path in files} == {1}


def test_only_what_changed_travels(device, profile, tmp_path) -> None:
    """Another manifest: one small file."""
    put(bundle("conv"), device, profile)
    other = variation(tmp_path / "other", "2")
    outcome = put(other, device, profile)

    assert outcome.moved_bytes == (other / "manifest.json").stat().st_size
    assert open_bundle(serving(device)).identity == open_bundle(other).identity


def test_a_dry_run_leaves_nothing(device, profile) -> None:
    outcome = put(bundle("conv"), device, profile, dataclasses.replace(QUICK, dry_run=True))

    assert outcome.state == "planned"
    assert outcome.plan.travel_bytes > 0
    assert not Path(device.root).exists()


def test_rollback_returns_and_returns_again(device, profile, tmp_path) -> None:
    with pytest.raises(DeviceError, match="no earlier release"):
        rollback(device, QUICK, tell=silent)
    put(bundle("conv"), device, profile)
    put(variation(tmp_path / "other", "2"), device, profile)
    rollback(device, QUICK, tell=silent)
    assert open_bundle(serving(device)).identity == open_bundle(bundle("conv")).identity
    rollback(device, QUICK, tell=silent)
    assert open_bundle(serving(device)).identity == open_bundle(tmp_path / "other").identity


def test_the_last_releases_are_kept_and_blobs_of_the_others_go(device, profile, tmp_path) -> None:
    profile = profile.model_copy(update={"deploy": profile.deploy.model_copy(update={"keep_releases": 2})})
    for number in range(4):
        put(variation(tmp_path / str(number), str(number)), device, profile)
    _, store = look(LocalTransport(), device)

    assert len(store.releases) == 2
    assert store.current in store.releases
    assert store.previous in store.releases
    lists = [path.read_text() for path in Path(device.root, "releases").glob("*/release.list")]
    listed = {line.split()[0] for text in lists for line in text.splitlines()}
    assert set(store.blobs) == listed


def test_higher_levels_stay_at_home(device, profile) -> None:
    """What is there is a bundle of the lower levels, and opens as one."""
    low = profile.model_copy(update={"deploy": profile.deploy.model_copy(update={"max_level": 0})})
    outcome = put(bundle("conv"), device, low)

    assert not (serving(device) / "ort-levels" / "level_1.onnx").exists()
    assert outcome.plan.release.stays_bytes > 0
    assert len(open_bundle(serving(device), max_level=0).ladder) == 1
    with pytest.raises(BundleError, match="missing"):
        open_bundle(serving(device))


def test_a_lock_of_a_living_process_is_respected_and_of_a_dead_one_taken(device, profile) -> None:
    put(bundle("conv"), device, profile)
    lock = Path(device.root, "lock")
    lock.mkdir()
    host = socket.gethostname()
    (lock / "token").write_text("feed")
    (lock / "since").write_text(
        subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout
    )
    (lock / "owner").write_text(f"{host} somebody process 1\n")
    with pytest.raises(BusyError, match="somebody process 1"):
        put_with_another_profile(device, profile)
    (lock / "owner").write_text(
        f"{host} somebody process 4194305\n"
    )  # beyond the largest number of a process

    put_with_another_profile(device, profile)
    assert not lock.exists()


def put_with_another_profile(device, profile) -> None:
    changed = profile.model_copy(update={"description": "another"})
    put(bundle("conv"), device, changed)


def test_a_blob_that_rotted_on_the_disk_is_sent_again(device, profile, tmp_path) -> None:
    """The store's own content is not trusted by its name."""
    put(bundle("conv"), device, profile)
    _, store = look(LocalTransport(), device)
    shutil.rmtree(Path(device.root, "releases"))
    Path(device.root, "current").unlink()
    hash_ = sha256_of(bundle("conv") / "golden.npz")
    rotten = Path(device.root, "blobs", hash_)
    rotten.chmod(0o644)
    rotten.write_bytes(b"x" * store.blobs[hash_])
    put(bundle("conv"), device, profile)

    assert open_bundle(serving(device)).identity == open_bundle(bundle("conv")).identity


def test_what_arrived_before_a_cut_is_not_sent_again(device, profile) -> None:
    incoming = Path(device.root, "incoming")
    incoming.mkdir(parents=True)
    Path(device.root, ".store").touch()
    data = (bundle("conv") / "golden.npz").read_bytes()
    (incoming / sha256_of(bundle("conv") / "golden.npz")).write_bytes(data[:1000])
    outcome = put(bundle("conv"), device, profile)

    assert outcome.moved_bytes == outcome.plan.travel_bytes - 1000
    assert open_bundle(serving(device))


def test_a_wrong_beginning_is_noticed_and_sent_again(device, profile) -> None:
    incoming = Path(device.root, "incoming")
    incoming.mkdir(parents=True)
    Path(device.root, ".store").touch()
    (incoming / sha256_of(bundle("conv") / "golden.npz")).write_bytes(b"?" * 1000)
    put(bundle("conv"), device, profile)

    assert open_bundle(serving(device))


def test_a_bundle_for_another_processor_is_refused_before_anything_is_there(
    device, profile, tmp_path
) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(bundle("conv"), foreign)
    text = (foreign / "device.yaml").read_text().replace("arch: x86-64", "arch: aarch64")
    (foreign / "device.yaml").write_text(text)
    manifest = read_manifest(foreign)
    files = [
        entry.model_copy(
            update={
                "sha256": sha256_of(foreign / entry.path),
                "size_bytes": (foreign / entry.path).stat().st_size,
            }
        )
        for entry in manifest.files
    ]
    (foreign / "manifest.json").write_text(
        manifest.model_copy(update={"files": tuple(files)}).model_dump_json()
    )
    with pytest.raises(IncompatibleError, match="built for aarch64"):
        put(foreign, device, profile)
    assert not Path(device.root).exists()


def test_too_little_space_or_memory_is_said_before_anything_is_there(device, profile) -> None:
    class Full(LocalTransport):
        def ask(self, verb, settings):
            reply = super().ask(verb, settings)
            return dataclasses.replace(
                reply, lines=tuple((k, "100" if k == "free_kb" else v) for k, v in reply.lines)
            )

    with pytest.raises(IncompatibleError, match="too little space"):
        deploy(bundle("conv"), device, profile, QUICK, tell=silent, line=Full())
    hungry = profile.model_copy(update={"qos": profile.qos.model_copy(update={"memory_reserve_mb": 1e9})})
    with pytest.raises(IncompatibleError, match="smallest level needs"):
        put(bundle("conv"), device, hungry)
    assert not Path(device.root).exists()


def test_what_the_disk_has_damaged_is_put_right_or_not_returned_to(device, profile, tmp_path) -> None:
    """The same deployment repairs what is in service, from what lies there or travels again; a rollback is refused."""

    def harm(path: Path) -> None:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    put(bundle("conv"), device, profile)
    model, before = serving(device) / "ort-levels" / "level_0.onnx", serving(device).parent.resolve()
    good = model.read_bytes()
    for also_the_blob in (False, True):
        harm(model)
        if also_the_blob:
            harm(Path(device.root, "blobs", sha256_of(bundle("conv") / "ort-levels" / "level_0.onnx")))
        assert put(bundle("conv"), device, profile).state == "deployed"
        assert model.read_bytes() == good
    assert put(bundle("conv"), device, profile).state == "unchanged"

    put(variation(tmp_path / "other", "2"), device, profile)
    harm(before / "bundle" / "golden.npz")
    with pytest.raises(DeviceError, match="damaged on the device's disk"):
        rollback(device, QUICK, tell=silent)
    assert open_bundle(serving(device)).identity == open_bundle(tmp_path / "other").identity
    assert put(bundle("conv"), device, profile).state == "deployed"
    assert open_bundle(serving(device)).identity == open_bundle(bundle("conv")).identity


def test_a_folder_with_files_of_others_is_left_alone(device, profile) -> None:
    """Neither deployed into nor wiped, whatever its folders are called."""
    theirs = [Path(device.root, name) for name in ("current", "blobs/mine", "releases/mine")]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    with pytest.raises(DeviceError, match="files that are not ours; nothing was touched"):
        put(bundle("conv"), device, profile)
    with pytest.raises(DeviceError, match="files that are not ours"):
        wipe_store(device)

    assert sorted(path for path in Path(device.root).rglob("*") if path.is_file()) == sorted(theirs)


def test_wipe_leaves_nothing(device, profile) -> None:
    put(bundle("conv"), device, profile)
    wipe_store(device)

    assert not Path(device.root).exists()


class Cut(LocalTransport):
    """A line whose device is killed during its n-th step, after so many of the step's commands."""

    def __init__(self, step: int, commands: int) -> None:
        self.step, self.commands, self.count = step, commands, 0

    def ask(self, verb, settings):
        self.count += 1
        if self.count != self.step:
            return super().ask(verb, settings)
        # `set -x` would change words; a DEBUG trap counts commands and kills the shell like a power cut.
        text = script(verb, settings)
        trap = f"n=0; trap 'n=$((n+1)); [ $n -lt {self.commands} ] || kill -9 $$' DEBUG; set -T\n"
        done = subprocess.run(["bash", "-s"], input=trap + text, capture_output=True, text=True, check=False)
        reply = parse_reply(done.stdout, done.stderr)
        if not reply.complete:
            raise LineError("cut")
        return reply


def test_a_device_killed_anywhere_serves_the_old_or_the_new_release_and_the_next_deployment_succeeds(
    device, profile, tmp_path
) -> None:
    """Six random places in all steps; the benchmark has fifty, over a real server."""
    random.seed(0)
    known = {}
    put(bundle("conv"), device, profile)
    known[open_bundle(bundle("conv")).identity] = True
    for number in range(6):
        new = variation(tmp_path / str(number), str(number))
        line = Cut(random.choice([2, 3, 4, 5, 6]), random.randrange(1, 120))
        try:
            deploy(new, device, profile, QUICK, tell=silent, line=line)
        except DeviceError:
            found = open_bundle(serving(device)).identity
            assert found in {*known, open_bundle(new).identity}
        put(new, device, profile)
        known = {open_bundle(new).identity: True}
        assert open_bundle(serving(device)).identity in known
