"""From a bundle here to a verified, running release on a device, and back.

Deciding is apart from doing:

targets, devices      where devices are, and what is known of them
facts, new_profile    what a device says about itself
contents, packages, plan, prepare     decide: what a release holds, what it runs with, what must travel
transport, ssh, agent.sh      do: the line to the device, and the device's side in POSIX shell
dialogue              ask it, hold its lock, understand what it says
bring, manage, fleet  deploy to one device; roll back, ask again, trust, wipe; many devices
native, elf    the native client's verifier, for devices without Python
unit                  a systemd unit for what uses the release
"""

from elsa_edge.deploy.bring import deploy
from elsa_edge.deploy.devices import Device, DeviceBook
from elsa_edge.deploy.dialogue import look, open_line
from elsa_edge.deploy.errors import BusyError, DeviceError, IncompatibleError, LineError, RolledBackError
from elsa_edge.deploy.manage import prove_again, rollback, trust, wipe_store
from elsa_edge.deploy.outcome import Options, Outcome

__all__ = [
    "BusyError",
    "Device",
    "DeviceBook",
    "DeviceError",
    "IncompatibleError",
    "LineError",
    "Options",
    "Outcome",
    "RolledBackError",
    "deploy",
    "look",
    "open_line",
    "prove_again",
    "rollback",
    "trust",
    "wipe_store",
]
