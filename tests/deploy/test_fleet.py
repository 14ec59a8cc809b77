"""Waves: who comes when, when it stops, what the report says; and what fleet tools are given."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import bundle

from elsa_edge.deploy.errors import LineError
from elsa_edge.deploy.export import FORMATS, export_release, tar_of
from elsa_edge.deploy.fleet import read_names, roll_out
from elsa_edge.deploy.prepare import payload
from elsa_edge.deploy.waves import Limit, parse_limit, parse_waves, split
from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.profiles import load_profile

NAMES = [f"d{number}" for number in range(200)]


def silent(_: str) -> None:
    """Nobody watches."""


def test_two_hundred_devices_come_in_four_waves() -> None:
    assert [len(wave) for wave in split(NAMES, parse_waves("1,10%,50%,100%"))] == [1, 19, 80, 100]
    assert [len(wave) for wave in split(NAMES[:2], parse_waves("1,10%,50%,100%"))] == [1, 1]


@given(st.integers(1, 500), st.lists(st.builds(Limit, st.integers(0, 100), st.booleans()), max_size=5))
def test_every_device_comes_once_and_in_order(count: int, waves: list[Limit]) -> None:
    names = [str(number) for number in range(count)]
    groups = split(names, [*waves, Limit(100, percent=True)])

    assert [name for group in groups for name in group] == names
    assert all(groups)


@pytest.mark.parametrize("text", ["", "1", "10%", "1,x,100%", "1,-5,100%", "1,101%,100%", "100%,1"])
def test_waves_that_leave_somebody_out_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_waves(text)


def test_it_stops_after_the_wave_in_which_too_many_failed() -> None:
    """5 % fail, 2 % may: the canary and the first ten percent are served, then half, then nobody."""

    def one(name: str):
        if int(name[1:]) % 20 == 7:
            raise LineError(f"{name} is gone")
        return "deployed", 10

    report = roll_out(
        NAMES,
        one,
        waves=parse_waves("1,10%,50%,100%"),
        most_failures=parse_limit("2%"),
        at_once=8,
        tell=silent,
    )
    counts = report.as_json()["counts"]

    assert not report.ok
    assert report.stopped == 3
    assert counts == {"deployed": 95, "failed": 5, "not reached": 100}
    assert [r.device for r in report.results] == NAMES
    assert all("is gone" in str(r.reason) for r in report.results if r.state == "failed")
    assert json.dumps(report.as_json())


def test_no_more_at_once_than_allowed() -> None:
    busy, most, guard = 0, 0, threading.Lock()

    def one(_: str):
        nonlocal busy, most
        with guard:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.002)
        with guard:
            busy -= 1
        return "deployed", 0

    report = roll_out(
        NAMES, one, waves=parse_waves("100%"), most_failures=parse_limit("0"), at_once=3, tell=silent
    )
    assert report.ok
    assert most <= 3


def test_a_list_of_devices_may_have_comments_and_repeats() -> None:
    assert read_names("a, b\n# old: c\nb d # here\n\n") == ["a", "b", "d"]


@pytest.fixture(scope="module")
def release():
    return payload(bundle("conv"), load_profile("generic-x86-64"))


def test_the_tar_is_the_bundle_and_always_the_same_bytes(release) -> None:
    data = tar_of(release, "p/")

    assert data == tar_of(release, "p/")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {e.name.removeprefix("p/bundle/"): archive.extractfile(e).read() for e in archive}
    assert found == {
        path.relative_to(bundle("conv")).as_posix(): path.read_bytes()
        for path in bundle("conv").rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_written_again_over_itself_and_over_nothing_else(form, release, tmp_path) -> None:
    target = tmp_path / "a name"
    for _ in range(2):
        export_release(release, form, target, arch="aarch64", device="pi5")
    assert target.exists()
    if form != "tar":
        other = tmp_path / "other"
        other.mkdir()
        (other / "mine").touch()
        with pytest.raises(ElsaError, match="was not written by this command"):
            export_release(release, form, other, arch="aarch64", device="pi5")


def test_the_oci_layout_holds_together(release, tmp_path) -> None:
    """Every descriptor names a blob of that size and hash, down to the layer."""
    folder = export_release(release, "oci", tmp_path / "image", arch="aarch64", device="pi5")

    def blob(descriptor) -> bytes:
        data = (folder / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
        assert len(data) == descriptor["size"]
        return data

    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(layer)), mode="r:gz") as archive:
        assert any(name.endswith("bundle/manifest.json") for name in archive.getnames())
    assert config["architecture"] == "arm64"
