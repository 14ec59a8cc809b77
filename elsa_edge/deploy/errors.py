"""What can go wrong between here and a device, as errors that a person can act on."""

from __future__ import annotations

from elsa_edge.errors import ElsaError

__all__ = ["BusyError", "DeviceError", "IncompatibleError", "LineError", "RolledBackError"]


class DeviceError(ElsaError):
    """The device refused, or something on it is not as it must be. It serves what it served before."""


class LineError(DeviceError):
    """The device cannot be reached, or the line broke. What has arrived stays there; the next try goes on."""


class BusyError(DeviceError):
    """Another deployment is at work on the device."""


class IncompatibleError(DeviceError):
    """The bundle cannot run on the device; found out before a byte was copied."""


class RolledBackError(DeviceError):
    """The new release failed on the device, which has returned to the one before by itself."""
