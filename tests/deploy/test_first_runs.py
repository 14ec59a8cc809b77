"""A release that dies in its first runs, or does not verify, is taken back by the device itself.

The device's Python is a real one that is killed when a file says so, as the kernel does it to a program that wants too
much memory or meets an instruction that the processor has not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.bundles import slim

from elsa_edge.bundle import open_bundle
from elsa_edge.deploy import Device, DeviceError, Options, deploy, look
from elsa_edge.deploy.errors import LineError, RolledBackError
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.transport import LocalTransport

OPTIONS = Options(packages="own", trial_s=0.1)
# "run" kills this process; "power run" the shell that called it too, as when power is lost.
DIES = """import os, pathlib, signal, sys
place = pathlib.Path({place!r})
told = place.read_text().split() if place.exists() else ["never"]
if told[-1] in sys.orig_argv:
    for number in ([os.getppid()] if told[0] == "power" else []) + [os.getpid()]:
        os.kill(number, signal.SIGKILL)
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
    first_bundle, second = slim(tmp_path / "first"), slim(tmp_path / "second", counter=2)
    serves = Path(there.root, "current")

    dies_at("run")
    with pytest.raises(RolledBackError, match="serves nothing, as before"):
        put(first_bundle, there)
    assert not serves.exists()
    dies_at("")
    assert put(first_bundle, there) == "deployed"
    first = serves.readlink().name

    dies_at("run")
    with pytest.raises(RolledBackError, match=f"serves {first[:12]} again"):
        put(second, there)
    dies_at("verify")
    with pytest.raises(DeviceError, match="does not verify"):
        put(second, there)
    assert serves.readlink().name == first
    assert [path.name for path in Path(there.root, "releases").iterdir()] == [first]
    assert open_bundle(serves / "bundle").identity == open_bundle(first_bundle).identity
    dies_at("")
    assert put(second, there) == "deployed"
    assert open_bundle(serves / "bundle").identity == open_bundle(second).identity


def start(device: Device, *, again: bool = True) -> subprocess.CompletedProcess[str]:
    """Start an application there; `again`: after the device was switched off and on."""
    root = Path(device.root)
    if again and (root / "lock").is_dir():
        (root / "lock" / "boot").write_text("an earlier one\n")
    command = ["sh", str(root / "current" / "elsa-edge"), "python", "-c", "print('at work')"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_power_lost_in_first_runs_is_made_good_by_the_next_start_of_an_application(device, tmp_path) -> None:
    """The device itself ends the deployment: it makes the first runs, and then keeps the release or returns."""
    there, dies_at = device
    serves = Path(there.root, "current")
    put(slim(tmp_path / "first"), there)
    first = serves.readlink().name

    dies_at("power run")
    with pytest.raises(LineError):
        put(slim(tmp_path / "healthy", counter=2), there)
    second = serves.readlink().name
    assert second != first
    assert not (serves / "good").exists()
    dies_at("")
    assert start(there).stdout == "at work\n"
    assert serves.readlink().name == second
    assert (serves / "good").exists()
    assert Path(there.root, "previous").read_text().strip() == first
    assert not Path(there.root, "lock").exists()

    dies_at("power run")
    with pytest.raises(LineError):
        put(slim(tmp_path / "ill", counter=3), there)
    assert serves.readlink().name not in (first, second)
    dies_at("run")
    assert start(there).stdout == "at work\n"
    assert serves.readlink().name == second
    assert sorted(path.name for path in Path(there.root, "releases").iterdir()) == sorted([first, second])


def test_a_release_that_takes_the_machine_down_has_two_tries_and_the_first_of_all_leaves_nothing(
    device, tmp_path
) -> None:
    there, dies_at = device
    only = slim(tmp_path / "only")
    serves = Path(there.root, "current")
    dies_at("power run")
    with pytest.raises(LineError):
        put(only, there)
    for _ in range(2):
        start(there)
        assert serves.exists()
        assert not (serves / "good").exists()
    done = start(there)

    assert done.returncode == 1
    assert "there was none before it" in done.stderr
    assert not serves.exists()
    dies_at("")
    assert put(only, there) == "deployed"


def test_an_application_that_starts_during_first_runs_leaves_them_to_the_deployment(device, tmp_path) -> None:
    """Whoever deploys still holds the lock: the application just starts."""
    there, dies_at = device
    only = slim(tmp_path / "only")
    dies_at("power run")
    with pytest.raises(LineError):
        put(only, there)
    dies_at("")
    agent = LocalTransport()
    agent.ask("lock", {"ROOT": there.root, "TOKEN": "t", "OWNER": "another"})

    assert start(there, again=False).stdout == "at work\n"
    assert not Path(there.root, "current", "good").exists()
    agent.ask("unlock", {"ROOT": there.root, "TOKEN": "t"})
    assert start(there, again=False).stdout == "at work\n"
    assert Path(there.root, "current", "good").exists()
