"""What the benchmarks of deployments share: a network's bundle, variations of it, and a counted line to a real sshd."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.sshd import SSHD, Server, server
from benchmarks.wire import Wire
from elsa_edge.deploy import Device, Options, look
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.transport import LocalTransport
from elsa_edge.files import sha256_of
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["LADDER", "QUICK", "WHOLE", "Bench", "opened_bench", "rehash", "silent", "variation"]

# Hashes only: what the device's Python adds is tested apart.
QUICK: Final = Options(packages="none", trial_s=0.0)
WHOLE: Final = Options(packages="own", trial_s=0.0)
LADDER: Final = (0.95, 0.9, 0.0)


def silent(_: str) -> None:
    """Nobody watches."""


def rehash(folder: Path, **changes: object) -> None:
    """Write the hashes of changed files into the manifest."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text()) | changes
    for entry in data["files"]:
        file = folder / entry["path"]
        entry["size_bytes"], entry["sha256"] = file.stat().st_size, sha256_of(file)
    path.write_text(json.dumps(data))


def variation(source: Path, target: Path, number: int) -> Path:
    """Copy a bundle; the file of its first level gets other content of the same size."""
    shutil.copytree(source, target)
    file = target / "ort-levels" / "level_0.onnx"
    file.write_bytes(random.Random(number).randbytes(file.stat().st_size))  # noqa: S311 - no secret
    rehash(target)
    return target


@dataclass(frozen=True)
class Bench:
    """A server, a counted line to it, and what is deployed."""

    folder: Path
    running: Server
    wire: Wire
    bundle: Path
    profile: DeviceProfile

    def device(self, store: Path) -> Device:
        """Return the device whose store is that folder of this machine, behind the counted line."""
        return Device("stand-in", f"ssh://127.0.0.1:{self.wire.port}", str(store), sys.executable)


@contextmanager
def opened_bench(folder: Path, net: str) -> Iterator[Bench]:
    """Build a network, and put a counted line in front of a real SSH server, until the block ends."""
    # Here, because each deployment that is cut is a process of its own, which needs neither torch nor the exporters.
    from benchmarks.common.prepare import prepare
    from elsa_edge.build import build_bundle

    if SSHD is None:
        raise RuntimeError("this needs sshd (Debian: apt-get install openssh-server)")
    prepared = prepare(net, folder, LADDER)
    facts, _ = look(LocalTransport(), Device("here", "local:", str(folder / "none"), sys.executable))
    profile = profile_of("here", facts)
    built = folder / "bundle"
    build_bundle(prepared.canonical, profile, built, variants=["ort-levels"])
    with ExitStack() as stack:
        running = stack.enter_context(server(folder / "sshd"))
        wire = stack.enter_context(Wire(running.port))
        running.know(wire.port)
        before = os.environ["PATH"]
        os.environ["PATH"] = running.path()
        stack.callback(os.environ.__setitem__, "PATH", before)
        yield Bench(folder, running, wire, built, profile)
