"""Decide, before a byte is copied: can the bundle run there, and what must travel? Pure; bring.py does it.

to bring = files of the release whose content is not on the device
a changed file whose name was there before starts from the old content
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from elsa_edge.bundle.manifest import Manifest
from elsa_edge.deploy.agent import ABANDONED_S
from elsa_edge.deploy.contents import Release, ReleaseFile
from elsa_edge.deploy.errors import BusyError, DeviceError, IncompatibleError
from elsa_edge.deploy.facts import DeviceFacts, Lock, StoreFacts
from elsa_edge.deploy.packages import RUNTIMES, PackagePlan
from elsa_edge.deploy.wheels import Wheel
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["Plan", "check_store", "may_take", "notes", "plan_release", "refusals"]

_MB: Final = 1_000_000
_SPARE_BYTES: Final = 16 * _MB  # logs, a profile, the file system's own needs

Step = Literal["nothing", "verify", "bring"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment will do.

    Attributes:
        release: What will be there.
        step: "nothing" (it is in service and good, with this profile), "verify" (it is there) or "bring".
        blobs: Files that travel, each content once.
        wheels: Wheels that travel.
        python_path: Wheels that the release runs with, in order.
        bases: New content -> old content that it resembles.
        notes: Sentences for people.
    """

    release: Release
    step: Step
    blobs: tuple[ReleaseFile, ...]
    wheels: tuple[Wheel, ...]
    python_path: tuple[str, ...]
    bases: dict[str, str]
    notes: tuple[str, ...]

    @property
    def travel_bytes(self) -> int:
        """Bytes of what travels, before any savings on the line."""
        return sum(file.size_bytes for file in self.blobs) + sum(wheel.size_bytes for wheel in self.wheels)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "release": self.release.hash, "bundle": self.release.name, "identity": self.release.identity,
            "step": self.step, "travel_bytes": self.travel_bytes, "release_bytes": self.release.size_bytes,
            "stays_bytes": self.release.stays_bytes, "files": [file.path for file in self.blobs],
            "wheels": [wheel.path.name for wheel in self.wheels], "notes": list(self.notes),
        }  # fmt: skip


def refusals(
    manifest: Manifest,
    built_for: DeviceProfile | None,
    facts: DeviceFacts,
    profile: DeviceProfile,
    packages: PackagePlan,
) -> Iterator[str]:
    """Yield every reason why the bundle cannot run on the device.

    Args:
        manifest: The bundle, without the levels that stay at home.
        built_for: The profile in the bundle.
        facts: The device as it is.
        profile: The device's profile here.
        packages: What it will run with.
    """
    if built_for is not None:
        hardware = built_for.hardware
        if facts.arch != hardware.arch:
            yield f"it was built for {hardware.arch}, the device is {facts.arch or facts.machine}"
        else:
            lacks = sorted(set(hardware.features) - set(facts.features) - {"neon"})
            if lacks:
                yield f"it was built for processors with {', '.join(lacks)}, which this one lacks"
        if hardware.os != facts.os and "android" in (hardware.os, facts.os):
            yield f"it was built for {hardware.os}, the device runs {facts.os}"
    if packages.python is not None and not _served(manifest, packages):
        wanted = ", ".join(sorted({variant.runtime for variant in manifest.variants}))
        yield f"its variants need {wanted}, the device will have {', '.join(packages.runtimes) or 'no runtime'}"
    smallest = _least_bytes(manifest, 0)
    room = facts.memory_bytes - round(profile.qos.memory_reserve_mb * _MB)
    if smallest > room:
        yield (
            f"its smallest level needs {smallest / _MB:.0f} MB, the device has "
            f"{facts.memory_bytes / _MB:.0f} MB and keeps {profile.qos.memory_reserve_mb:g} MB free"
        )
    if "sha256sum" not in facts.tools:
        yield "the device has no sha256sum to check what arrives"


def _served(manifest: Manifest, packages: PackagePlan) -> bool:
    for variant in manifest.variants:
        known = RUNTIMES.get(variant.runtime)
        if known is None or any(name in packages.runtimes for name, _ in known):
            return True
    return False


def _least_bytes(manifest: Manifest, level: int) -> int:
    """Weights that a level needs in memory, of the variant that needs least; 0 where no variant tells."""
    told = [variant.level_bytes[level] for variant in manifest.variants if len(variant.level_bytes) > level]
    return min(told, default=0)


def notes(manifest: Manifest, facts: DeviceFacts, profile: DeviceProfile, release: Release) -> list[str]:
    """Say what people should know and what does not stop the deployment."""
    said = []
    free = facts.available_bytes - round(profile.qos.memory_reserve_mb * _MB)
    fits = [level for level in range(len(manifest.ladder)) if _least_bytes(manifest, level) <= free]
    if len(fits) < len(manifest.ladder):
        highest = f"up to level {fits[-1]}" if fits else "no level"
        said.append(f"in the memory that is free now, {highest} fits; the controller heeds that")
    if release.stays_bytes:
        said.append(
            f"levels above {len(manifest.ladder) - 1} stay at home: {release.stays_bytes / _MB:.2f} MB do not travel"
        )
    measured, budget = profile.measured, profile.qos.latency_budget_ms
    if measured is not None and measured.bundle == release.identity and budget is not None:
        held = [k for k, row in enumerate(measured.levels) if row.p95_ms is not None and row.p95_ms <= budget]
        said.append(
            f"the budget of {budget:g} ms allows {f'level {held[-1]}' if held else 'no level'}, as measured there"
        )
    if facts.governor in ("powersave", "ondemand", "conservative"):
        said.append(
            f"the clock follows the load there (governor {facts.governor}): latency jumps after pauses"
        )
    return said


def plan_release(
    release: Release,
    *,
    store: StoreFacts,
    facts: DeviceFacts,
    wheels: Sequence[Wheel],
    profile_hash: str,
    said: Sequence[str],
) -> Plan:
    """Compare a release with what lies on the device.

    Raises:
        IncompatibleError: When there is too little space, or a native library cannot be loaded with its pages.
        DeviceError: When the store cannot be written.
    """
    path = tuple(wheel.sha256 for wheel in wheels)
    state = store.releases.get(release.hash)
    tools = [file for file in release.tools if store.blobs.get(file.sha256) != file.size_bytes]
    here = state is not None and store.wheels >= set(path) and not tools
    if here and store.current == release.hash and state == "good" and store.profile == profile_hash:
        return Plan(release, "nothing", (), (), path, {}, tuple(said))
    wanted = release.unique if state is None else tools
    missing = [file for file in wanted if store.blobs.get(file.sha256) != file.size_bytes]
    new_wheels = [w for w in wheels if w.sha256 not in store.wheels]
    check_store(store)
    _check_pages(new_wheels, facts)
    _check_space(missing, new_wheels, store, release.size_bytes if state is None else 0)
    travelling = tuple(wheel for wheel in new_wheels if wheel.sha256 not in store.blobs)
    bases = {
        file.sha256: old
        for file in missing
        if (old := store.items.get(file.path)) is not None
        and old in store.blobs
        and file.sha256 not in store.parts
    }
    return Plan(release, "verify" if here else "bring", tuple(missing), travelling, path, bases, tuple(said))


def check_store(store: StoreFacts) -> None:
    """Leave a folder alone that has other people's files in it, or that we may not write.

    Raises:
        DeviceError: When it is one.
    """
    if store.foreign:
        raise DeviceError(
            f"The folder {store.root} on the device holds files that are not ours; nothing was touched",
            expected="a folder that is empty, or not there yet",
            fix="Choose another: device add NAME ADDRESS --root FOLDER",
        )
    if not store.writable:
        raise DeviceError(
            f"The folder {store.root} on the device cannot be written",
            fix="Choose another: device add NAME ADDRESS --root FOLDER",
        )


def _check_pages(wheels: Sequence[Wheel], facts: DeviceFacts) -> None:
    narrow = [w.path.name for w in wheels if w.page_bytes is not None and w.page_bytes < facts.page_bytes]
    if narrow:
        raise IncompatibleError(
            f"Native libraries cannot be loaded with memory pages of {facts.page_bytes} bytes",
            found=", ".join(narrow),
            fix="Boot a kernel with 4096-byte pages (Raspberry Pi 5: kernel=kernel8.img), or take newer wheels",
        )


def _check_space(
    missing: Sequence[ReleaseFile], wheels: Sequence[Wheel], store: StoreFacts, copied_bytes: int
) -> None:
    arriving = sum(file.size_bytes - store.parts.get(file.sha256, 0) for file in missing)
    # A wheel lies there twice while it is unpacked.
    unpacking = sum(wheel.size_bytes + wheel.unpacked_bytes for wheel in wheels)
    needed = arriving + copied_bytes + unpacking + _SPARE_BYTES
    if needed > store.free_bytes:
        raise IncompatibleError(
            "There is too little space on the device; nothing was copied",
            expected=f"{needed / _MB:.0f} MB free", found=f"{store.free_bytes / _MB:.0f} MB",
            fix="Free some, set deploy.max_level or deploy.keep_releases lower in the device's profile",
        )  # fmt: skip


def may_take(lock: Lock | None, host: str, alive: bool, force: bool) -> str:
    """Return the token of a lock that may be taken over, empty when there is none to take.

    Args:
        lock: The lock on the device.
        host: What owners on this machine begin with.
        alive: Whether the process that a lock of this machine names still runs.
        force: The user says that the owner will not come back.

    Raises:
        BusyError: When somebody is at work, or was until a moment ago.
    """
    if lock is None or not lock.token:
        return ""
    dead = lock.owner.startswith(host + " ") and not alive
    if dead or force or lock.age_s > ABANDONED_S:
        return lock.token
    raise BusyError(
        f"Another deployment is at work on the device: {lock.owner}, last heard of {lock.age_s} s ago",
        fix=f"Wait for it; it counts as dead after {ABANDONED_S} s of silence, or say --take-over if you know it is",
    )
