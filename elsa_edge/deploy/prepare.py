"""Make of a bundle what a device will get, or refuse it before a byte travels; what it runs with, and its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.instructions import Nested
from elsa_edge.bundle.manifest import FILE_NAME, SIGNATURE_NAME
from elsa_edge.bundle.reader import Bundle
from elsa_edge.bundle.signature import check_signature
from elsa_edge.bundle.trim import trimmed
from elsa_edge.deploy.contents import Release, ReleaseFile, release_of
from elsa_edge.deploy.errors import IncompatibleError
from elsa_edge.deploy.facts import DeviceFacts
from elsa_edge.deploy.launcher import launcher, native_launcher
from elsa_edge.deploy.native import find_verifier
from elsa_edge.deploy.outcome import Options, Tell
from elsa_edge.deploy.own_wheel import kernels_for, own_version
from elsa_edge.deploy.packages import PackagePlan, choose_packages
from elsa_edge.deploy.plan import refusals
from elsa_edge.deploy.wheels import Wheel, collect_wheels, wheels_for
from elsa_edge.profiles import load_profile, render_profile
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["payload", "prepare", "profile_hash"]

_CARRIED_PROFILE: Final = "device.yaml"
# The command of a release that the device has nothing to run with.
_NOTHING: Final = "#!/bin/sh\n"


def prepare(
    whole: Bundle, facts: DeviceFacts, profile: DeviceProfile, options: Options, tell: Tell
) -> tuple[PackagePlan, list[Wheel], Release]:
    """Decide how the bundle will run there, and make the release; refuse it when it cannot run.

    Raises:
        IncompatibleError: With every reason why it cannot.
        BundleError: When the profile demands a signature and it has none that is trusted.
    """
    kept = trimmed(whole.manifest, profile.deploy.max_level)
    verifier = find_verifier(options.devices, facts.os, facts.arch)
    packages = choose_packages(facts, kept.variants, options.packages, own_version(), verifier)
    if profile.deploy.require_signature:
        check_signature(whole.folder, profile.deploy.trusted_keys)
        if packages.python is None:
            raise IncompatibleError(
                "The profile demands a signature, and this device has nothing that could check one",
                fix="Let the application check it, and set deploy.require_signature: false for the copy",
            )
    carried = whole.folder / _CARRIED_PROFILE
    built_for = load_profile(carried) if carried.is_file() else None
    reasons = list(refusals(kept, built_for, facts, profile, packages))
    if packages.kind == "bring" and packages.python is not None and not options.wheels:
        nested = [v.name for v in kept.variants if isinstance(v.instructions, Nested)]
        _, lack = kernels_for(facts.arch, packages.python.libc)
        if lack and len(nested) == len(kept.variants):
            reasons.append(f"its variants need kernels, and {lack}")
        elif lack and nested:
            tell(f"{', '.join(nested)} will not run there: {lack}")
    tools = verifier.files if verifier is not None and packages.kind == "native" else ()
    if verifier is not None and tools and (verifier.page_bytes or facts.page_bytes) < facts.page_bytes:
        reasons.append(
            f"the verifier in {verifier.folder} cannot be loaded with memory pages of {facts.page_bytes} bytes"
        )
    if reasons:
        raise IncompatibleError(
            f"{whole.manifest.name} cannot run on this device; nothing was copied", found="; ".join(reasons),
            fix=f"Build it for the device: elsa-edge build MODEL --device {profile.name}",
        )  # fmt: skip
    wheels: list[Wheel] = []
    if packages.kind == "bring" and packages.python is not None:
        wheels = (
            wheels_for(facts, packages.python, options.wheels)
            if options.wheels
            else collect_wheels(packages, facts, options.cache, tell)
        )
    command = _NOTHING
    if packages.python is not None:
        command = launcher(packages.python.path, [wheel.sha256 for wheel in wheels])
    elif tools:
        command = native_launcher([file.sha256 for file in tools])
    return packages, wheels, _release(whole, command, profile, tools)


def _release(
    whole: Bundle, command: str, profile: DeviceProfile, tools: tuple[ReleaseFile, ...] = ()
) -> Release:
    names = [name for name in (FILE_NAME, SIGNATURE_NAME) if (whole.folder / name).is_file()]
    attached = {name: (whole.folder / name).read_bytes() for name in names}
    return release_of(whole.folder, whole.manifest, attached, command, profile.deploy.max_level, tools=tools)


def payload(bundle: Path, profile: DeviceProfile) -> Release:
    """Return what a device of that profile gets of a bundle, without asking one: for tools that bring it in other ways.

    Raises:
        BundleError: When the bundle is damaged, or not signed as the profile demands.
    """
    whole = open_bundle(bundle)
    if profile.deploy.require_signature:
        check_signature(whole.folder, profile.deploy.trusted_keys)
    return _release(whole, _NOTHING, profile)


def profile_hash(profile: DeviceProfile) -> str:
    """Return what the device says of a profile in force: SHA-256 without the first line, which names a file here."""
    text = render_profile(profile).rstrip("\n").partition("\n")[2] + "\n"
    return hashlib.sha256(text.encode()).hexdigest()
