"""From a bundle here to a verified, running release on a device, and back.

Deciding is apart from doing:

targets, devices      where devices are, and what is known of them
facts, new_profile    what a device says about itself
contents, packages, plan      decide: what a release holds, what it runs with, what must travel (pure)
transport, ssh, agent.sh      do: the line to the device, and the device's side in POSIX shell
deploy, fleet         one device, many devices
"""

from elsa_edge.deploy.bring import Options, Outcome, deploy, look, open_line, rollback, trust, wipe_store
from elsa_edge.deploy.devices import Device, DeviceBook
from elsa_edge.deploy.errors import BusyError, DeviceError, IncompatibleError, LineError, RolledBackError

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
    "rollback",
    "trust",
    "wipe_store",
]
