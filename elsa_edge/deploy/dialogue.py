"""Ask a device and understand its answer: open a line, look, hold the lock, turn what failed there into errors."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from elsa_edge.deploy.agent import Reply
from elsa_edge.deploy.devices import Device
from elsa_edge.deploy.errors import BusyError, DeviceError, LineError
from elsa_edge.deploy.facts import DeviceFacts, StoreFacts, facts_of, store_of
from elsa_edge.deploy.plan import may_take
from elsa_edge.deploy.ssh import SshTransport
from elsa_edge.deploy.transport import AdbTransport, LocalTransport, Transport
from elsa_edge.errors import ElsaError

__all__ = ["PYTHONS", "expect", "locked", "look", "open_line"]

PYTHONS: Final = "python3\npython3.14\npython3.13\npython3.12\npython3.11"


def open_line(device: Device) -> Transport:
    """Return a line to a device; nothing is contacted before the first question.

    Raises:
        RuntimeUnavailableError: When the program for that kind of line is not installed here.
    """
    target = device.target
    if target.kind == "ssh":
        return SshTransport(target)
    return AdbTransport(target.host) if target.kind == "adb" else LocalTransport()


def look(line: Transport, device: Device) -> tuple[DeviceFacts, StoreFacts]:
    """Ask a device what it is and what lies on it. Nothing is written there."""
    pythons = device.python or PYTHONS
    reply = expect(line.ask("look", {"ROOT": device.root, "PYTHONS": pythons}), device)
    facts = facts_of(reply)
    return facts, store_of(reply)


def expect(reply: Reply, device: Device) -> Reply:
    """Return a reply that says the step was done; raise what the device said otherwise."""
    if not reply.complete:
        raise LineError(
            f"{device.name} stopped in the middle of a step", fix="Try again: it goes on where it stopped"
        )
    if reply.error is not None:
        words = reply.words.strip().splitlines()
        said = f": {words[-1].removeprefix('Error: ').rstrip('.')[:1000]}" if words else ""
        full = "space" in reply.error or "No space left" in reply.words
        raise DeviceError(
            f"{device.name} says: {reply.error}{said}",
            fix="Free some space there and try again" if full else None,
        )
    return reply


def _host() -> str:
    return socket.gethostname().split()[0] if socket.gethostname() else "unknown"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return str(os.getuid())


def _alive(owner: str) -> bool:
    """Whether the process that a lock of this machine names still runs, as the same user's."""
    number = owner.rpartition(" process ")[2]
    return number.isdecimal() and Path(f"/proc/{number}").exists()


@contextlib.contextmanager
def locked(line: Transport, device: Device, store: StoreFacts, take_over: bool) -> Iterator[str]:
    """Hold the device's lock; let it go at the end, as far as the line allows."""
    token = secrets.token_hex(8)
    owner = f"{_host()} {_user()} process {os.getpid()}"
    take = may_take(store.lock, _host(), _alive(store.lock.owner) if store.lock else False, take_over)
    settings = {"ROOT": device.root, "TOKEN": token, "OWNER": owner, "TAKE_FROM": take}
    reply = line.ask("lock", settings)
    if reply.error == "locked":
        may_take(store_of(reply).lock, _host(), True, False)
        raise BusyError(f"Another deployment has just begun on {device.name}", fix="Wait for it")
    expect(reply, device)
    try:
        yield token
    finally:
        with contextlib.suppress(ElsaError):
            line.ask("unlock", {"ROOT": device.root, "TOKEN": token})
