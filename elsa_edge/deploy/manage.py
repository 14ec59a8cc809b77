"""What is done to a device's store beside a deployment: return to the release before, ask it again, wipe it, trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elsa_edge.deploy.agent import Reply
from elsa_edge.deploy.devices import Device
from elsa_edge.deploy.dialogue import expect, locked, look, open_line
from elsa_edge.deploy.errors import DeviceError
from elsa_edge.deploy.outcome import Options, Tell
from elsa_edge.deploy.transport import Transport

__all__ = ["prove_again", "rollback", "trust", "wipe_store"]


def rollback(device: Device, options: Options, *, tell: Tell, line: Transport | None = None) -> str:
    """Put the release before this one back into service, and return its name.

    Raises:
        DeviceError: When there is none, or the device refuses: it is damaged, or signed by none of the keys that the
            device trusts today.
        BusyError: When another deployment is at work there.
    """
    with line or open_line(device) as talk:
        _, store = look(talk, device)
        if store.previous is None:
            raise DeviceError(f"There is no earlier release on {device.name}", fix="Deploy the one you want")
        with locked(talk, device, store, options.take_over) as token:
            reply = expect(talk.ask("rollback", {"ROOT": device.root, "TOKEN": token}), device)
        tell(f"{device.name}: {reply.one('current')[:12]} is in service again")
        return reply.one("current")


def prove_again(device: Device) -> dict[str, Any]:
    """Let a device compare the release in service with its hashes and golden answers; return the answer of `verify`.

    The answer is empty where nothing can ask for numbers there: only hashes were compared then.

    Raises:
        DeviceError: When none is in service, it is damaged, or it computes something else.
        BusyError: When a deployment is at work there.
    """
    return _under_lock(device, "prove_again", {}).json()


def wipe_store(device: Device) -> None:
    """Remove everything of elsa-edge from the device's store.

    Raises:
        BusyError: When a deployment is at work there.
    """
    _under_lock(device, "remove", {})


def trust(device: Device, keys: Sequence[str]) -> None:
    """Tell a device whose bundles to let in from now on; it then refuses all others, whoever deploys them.

    Raises:
        BusyError: When a deployment is at work there.
    """
    _under_lock(device, "trust", {"TRUST": "\n".join(keys)})


def _under_lock(device: Device, verb: str, settings: Mapping[str, str]) -> Reply:
    with open_line(device) as talk:
        _, store = look(talk, device)
        with locked(talk, device, store, take_over=False) as token:
            return expect(talk.ask(verb, {"ROOT": device.root, "TOKEN": token, **settings}), device)
