"""The devices that were added on this machine: name, address, folder there, and the profile each got.

    ~/.config/elsa-edge/devices/NAME.json     how it is reached          ($ELSA_EDGE_DEVICES names another folder)
    ~/.config/elsa-edge/devices/NAME.yaml     its device profile: edit it to set a budget, max_level, trusted keys

There is no account and no server: these two files are all that is known of a device.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from elsa_edge.deploy.errors import DeviceError
from elsa_edge.deploy.targets import Target, parse_target
from elsa_edge.errors import UnknownNameError, UsageError, closest
from elsa_edge.files import write_bytes
from elsa_edge.profiles import added_folder, load_profile, profile_names, save_profile, update_profile
from elsa_edge.profiles.schema import NAME_PATTERN, DeviceProfile

__all__ = ["Device", "DeviceBook"]

_FEW: Final = 20  # so many names are shown to somebody who mistyped one


@dataclass(frozen=True, slots=True)
class Device:
    """A device that was added.

    Attributes:
        name: What people call it.
        address: As `parse_target` reads it.
        root: The store's folder there, absolute or relative to the user's home.
        python: The interpreter to use there; empty for the one that is found.
    """

    name: str
    address: str
    root: str
    python: str = ""

    @property
    def target(self) -> Target:
        """The address, taken apart."""
        return parse_target(self.address)


@dataclass(frozen=True, slots=True)
class DeviceBook:
    """The folder with what is known of devices."""

    folder: Path

    @classmethod
    def default(cls) -> DeviceBook:
        """Return the user's: $ELSA_EDGE_DEVICES, or elsa-edge/devices in the user's configuration."""
        return cls(added_folder())

    def names(self) -> list[str]:
        """Return the names of all devices, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def profile_path(self, name: str) -> Path:
        """Return where a device's profile lies."""
        return self.folder / f"{name}.yaml"

    def check_new(self, name: str) -> None:
        """Refuse a name that is none, or taken.

        Raises:
            UsageError: With what is allowed.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise UsageError(
                "This is no name for a device",
                expected="lower-case letters, digits, dots, dashes, underscores",
                found=name,
            )
        if name in profile_names():
            raise UsageError(
                f"{name!r} is a profile that comes with elsa-edge",
                fix="Choose a name of its own for the device",
            )
        if name in self.names():
            raise UsageError(
                f"There is a device named {name!r} already", fix="Choose another name, or remove it first"
            )

    def add(self, device: Device, profile: DeviceProfile) -> None:
        """Write a device down.

        Raises:
            UsageError: When the name is taken or is no name.
        """
        self.check_new(device.name)
        save_profile(profile, self.profile_path(device.name))
        self._write(device)

    def _write(self, device: Device) -> None:
        text = json.dumps({"format": 1, **asdict(device)}, indent=2) + "\n"
        write_bytes(self.folder / f"{device.name}.json", text.encode())

    def get(self, name: str) -> Device:
        """Return a device by name.

        Raises:
            UnknownNameError: When none was added under that name, but some others were.
            UsageError: The same, when none was added at all, or too many to name.
            DeviceError: When its file is damaged.
        """
        known = self.names()
        if not known:
            raise UsageError(
                f"There is no device named {name!r}: none was added yet",
                fix=f"elsa-edge device add {name} ssh://USER@HOST",
            )
        if name not in known and len(known) > _FEW:
            near = closest(name, known)
            raise UsageError(
                f"There is no device named {name!r} among the {len(known)} that were added",
                fix=f"Nearest: {near!r}" if near else "elsa-edge device list names them",
            )
        if name not in known:
            raise UnknownNameError("device added", name, known)
        path = self.folder / f"{name}.json"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            device = Device(name, str(told["address"]), str(told["root"]), str(told.get("python", "")))
            parse_target(device.address)
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            raise DeviceError(
                f"{path} cannot be read ({error})",
                fix=f"Remove it and add {name} again: elsa-edge device add",
            ) from error
        return device

    def profile(self, name: str) -> DeviceProfile:
        """Return a device's profile.

        Raises:
            ProfileError: When the file has a mistake in it, or is missing.
        """
        return load_profile(self.profile_path(name))

    def save_profile(self, name: str, profile: DeviceProfile) -> None:
        """Write a device's profile; comments of a person stay."""
        update_profile(profile, self.profile_path(name))

    def remove(self, name: str) -> None:
        """Forget a device; on the device nothing changes."""
        self.get(name)
        (self.folder / f"{name}.json").unlink()
        self.profile_path(name).unlink(missing_ok=True)
