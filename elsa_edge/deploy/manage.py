"""What is done to a device's store beside a deployment: return to the release before, wipe it, say whom it trusts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elsa_edge.deploy.devices import Device
from elsa_edge.deploy.dialogue import expect, locked, look, open_line
from elsa_edge.deploy.errors import DeviceError
from elsa_edge.deploy.outcome import Options, Tell
from elsa_edge.deploy.transport import Transport

__all__ = ["rollback", "trust", "wipe_store"]


def rollback(device: Device, options: Options, *, tell: Tell, line: Transport | None = None) -> str:
    """Put the release before this one back into service, and return its name.

    Raises:
        DeviceError: When there is none, or the device refuses.
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


def _under_lock(device: Device, verb: str, settings: Mapping[str, str]) -> None:
    with open_line(device) as talk:
        _, store = look(talk, device)
        with locked(talk, device, store, take_over=False) as token:
            expect(talk.ask(verb, {"ROOT": device.root, "TOKEN": token, **settings}), device)
