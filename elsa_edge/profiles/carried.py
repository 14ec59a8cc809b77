"""The profile inside a bundle comes with the network, from whoever made it: it may tune, not reach out.

    runtime.options   only those below: no name of a file to write, of a library to load
    runtime.threads   at most the cores that are here: a thousand threads would take the memory, or hang
    probes            only the usual places of Linux below /; any other path may hang, or read what is private

A profile that the owner of the device gives (`--device FILE`) may say anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from elsa_edge.errors import BundleError
from elsa_edge.profiles.schema import DeviceProfile, Probes

__all__ = ["HARMLESS_OPTIONS", "carried", "require_harmless", "within_cores"]

_SWITCH: Final = "[01]"
# Name -> what its value may be: a runtime answers odd ones with errors that blame the network.
HARMLESS_OPTIONS: Final[Mapping[str, str]] = {
    "litert.package": r"ai-edge-litert|tflite-runtime",
    "mlas.disable_kleidiai": _SWITCH,
    "mlas.enable_gemm_fastmath_arm64_bfloat16": _SWITCH,
    "session.disable_prepacking": _SWITCH,
    "session.dynamic_block_base": r"[0-9]{1,4}",
    "session.force_spinning_stop": _SWITCH,
    "session.inter_op.allow_spinning": _SWITCH,
    "session.intra_op.allow_spinning": _SWITCH,
    "session.qdq_matmulnbits_accuracy_level": "[0-4]",
    "session.set_denormal_as_zero": _SWITCH,
    "session.use_device_allocator_for_initializers": _SWITCH,
}
_USUAL: Final = {
    "root": re.compile(r"/"),
    "meminfo": re.compile(r"proc/meminfo"),
    "cgroup": re.compile(r"sys/fs/cgroup"),
    "pressure": re.compile(r"proc/pressure/memory"),
    "thermal": re.compile(
        r"sys/class/thermal/thermal_zone(\*|\d{1,3})/temp|sys/class/hwmon/hwmon(\*|\d{1,3})/temp(\*|\d{1,3})_input"
    ),
}


def _unusual_probes(probes: Probes) -> list[str]:
    found = []
    for name, usual in _USUAL.items():
        value = getattr(probes, name)
        paths = value if isinstance(value, tuple) else (value,)
        found += [
            f"probes.{name}: {path}" for path in paths if path is not None and not usual.fullmatch(path)
        ]
    return found


def _unusual(profile: DeviceProfile) -> list[str]:
    options = [
        f"runtime.options: {name}{'' if name not in HARMLESS_OPTIONS else f'={value[:40]}'}"
        for name, value in profile.runtime.options.items()
        if not _is_harmless(name, value)
    ]
    return [*options, *_unusual_probes(profile.probes)]


def _is_harmless(option: str, value: str) -> bool:
    return option in HARMLESS_OPTIONS and re.fullmatch(HARMLESS_OPTIONS[option], value) is not None


def require_harmless(profile: DeviceProfile) -> DeviceProfile:
    """Return a bundle's own profile when it only tunes.

    Raises:
        BundleError: Naming what reaches out.
    """
    unusual = _unusual(profile)
    if unusual:
        raise BundleError(
            "The profile inside the bundle asks for what only the owner of a device may",
            found="; ".join(unusual[:5]),
            fix="Look at it, and give it, or your own, with --device FILE.yaml",
        )
    return profile


def within_cores(profile: DeviceProfile) -> DeviceProfile:
    """Return a profile with no more threads than this machine has cores."""
    cores = os.cpu_count() or 1
    if profile.runtime.threads <= cores:
        return profile
    return profile.model_copy(update={"runtime": profile.runtime.model_copy(update={"threads": cores})})


def carried(profile: DeviceProfile) -> tuple[DeviceProfile, list[str]]:
    """Return what of a profile may travel in a bundle, and what was left out."""
    unusual = _unusual(profile)
    if not unusual:
        return profile, []
    options = {name: value for name, value in profile.runtime.options.items() if _is_harmless(name, value)}
    usual = Probes()
    places = {
        name: getattr(usual, name)
        for name in _USUAL
        if any(entry.startswith(f"probes.{name}:") for entry in _unusual_probes(profile.probes))
    }
    return profile.model_copy(
        update={
            "runtime": profile.runtime.model_copy(update={"options": options}),
            "probes": profile.probes.model_copy(update=places),
        }
    ), unusual
