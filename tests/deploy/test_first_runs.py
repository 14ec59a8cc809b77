"""A release that dies in its first runs, or does not verify, is taken back by the device itself.

The device's Python is a real one that is killed when a file says so, as the kernel does it to a program that wants too
much memory or meets an instruction that the processor has not.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.bundles import bundle

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.reader import read_manifest
from elsa_edge.deploy import Device, DeviceError, Options, deploy, look
from elsa_edge.deploy.errors import RolledBackError
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.transport import LocalTransport

OPTIONS = Options(packages="own", trial_s=0.1)
DIES = """import os, pathlib, signal, sys
verb = pathlib.Path({place!r})
if verb.exists() and verb.read_text() in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def device(tmp_path: Path):
    """A device, and a function that says at which verb its Python dies from now on."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python3.*/site-packages")
    # A .pth alone would not do: ours is installed with .pth files of its own, which only a site folder's are followed.
    folders = [path for path in sys.path if path.endswith("-packages")]
    (site / "all.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in folders))
    place = tmp_path / "dies-at"
    (site / "sitecustomize.py").write_text(DIES.format(place=str(place)))

    def dies_at(verb: str) -> None:
        place.write_text(verb) if verb else place.unlink()

    return Device("here", "local:", str(tmp_path / "store"), str(tmp_path / "venv/bin/python")), dies_at


def put(source: Path, device: Device) -> str:
    facts, _ = look(LocalTransport(), device)
    return deploy(source, device, profile_of("here", facts), OPTIONS, tell=lambda _: None).state


def test_what_dies_there_is_taken_back_and_the_next_try_succeeds(device, tmp_path) -> None:
    """The first release of all, then the second; in its first runs, and while it is verified."""
    there, dies_at = device
    second = tmp_path / "second"
    shutil.copytree(bundle("conv"), second)
    text = read_manifest(second).model_copy(update={"provenance": {"number": 2}}).model_dump_json()
    (second / "manifest.json").write_text(text)
    serves = Path(there.root, "current")

    dies_at("run")
    with pytest.raises(RolledBackError, match="serves nothing, as before"):
        put(bundle("conv"), there)
    assert not serves.exists()
    dies_at("")
    assert put(bundle("conv"), there) == "deployed"
    first = serves.readlink().name

    dies_at("run")
    with pytest.raises(RolledBackError, match=f"serves {first[:12]} again"):
        put(second, there)
    dies_at("verify")
    with pytest.raises(DeviceError, match="does not verify"):
        put(second, there)
    assert serves.readlink().name == first
    assert [path.name for path in Path(there.root, "releases").iterdir()] == [first]
    assert open_bundle(serves / "bundle").identity == open_bundle(bundle("conv")).identity
    dies_at("")
    assert put(second, there) == "deployed"
    assert open_bundle(serves / "bundle").identity == open_bundle(second).identity
