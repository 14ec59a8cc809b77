"""From a bundle and a device profile to a loaded variant: which one, through which adapter, with which cache.

Needs what a device has: numpy, pydantic, PyYAML and one runtime.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from elsa_edge.bundle import Bundle, Variant, open_bundle
from elsa_edge.bundle.rerouted import Rerouted
from elsa_edge.bundle.signature import Accepted, check_counter, check_signature
from elsa_edge.errors import BundleError, ElsaError, PluginError, RuntimeUnavailableError, UnknownNameError
from elsa_edge.plugins import Opened
from elsa_edge.plugins.chain import Chain, segment_variants
from elsa_edge.plugins.installed import find_adapter
from elsa_edge.profiles import load_profile, profile_names
from elsa_edge.profiles.carried import require_harmless, within_cores
from elsa_edge.profiles.schema import DeviceProfile

__all__ = [
    "PROFILE_NAME",
    "CachePath",
    "choices_of",
    "choose_variant",
    "default_cache",
    "open_adapter",
    "open_for",
    "passed_over",
    "resolve_profile",
    "why_not_loadable",
]

PROFILE_NAME: Final = "device.yaml"  # the profile that the bundle was built for, inside the bundle
CachePath = Path | str | None


def default_cache() -> Path | None:
    """Return the folder for files derived on this device: $ELSA_EDGE_CACHE, or elsa-edge in the user's cache.

    An empty ELSA_EDGE_CACHE means none.
    """
    told = os.environ.get("ELSA_EDGE_CACHE")
    if told is not None:
        return Path(told) if told else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "elsa-edge"
    except RuntimeError:  # a service without a home
        return None


def resolve_profile(bundle: Bundle, device: str | os.PathLike[str] | DeviceProfile | None) -> DeviceProfile:
    """Return the profile to run with: the given one, or the one the bundle carries.

    Raises:
        BundleError: When the bundle's own profile asks for more than tuning.
        ProfileError: When the profile has a mistake in it.
        UnknownNameError: When there is no profile of that name.
    """
    if isinstance(device, DeviceProfile):
        return device
    if device is not None:
        return load_profile(device)
    carried = bundle.folder / PROFILE_NAME
    if any(entry.path == PROFILE_NAME for entry in bundle.manifest.files):
        return within_cores(require_harmless(load_profile(carried)))
    if bundle.manifest.device not in profile_names():  # a path here would be one of the bundle's choice
        raise BundleError(
            "The bundle has no profile, and elsa-edge comes with none for its device",
            found=repr(bundle.manifest.device),
            fix="Give one with --device NAME_OR_YAML",
        )
    return load_profile(bundle.manifest.device)


def open_for(
    path: str | os.PathLike[str],
    device: str | os.PathLike[str] | DeviceProfile | None,
    *,
    check_hashes: bool = True,
    trusted_keys: Sequence[str | os.PathLike[str]] = (),
    accepted: Accepted | None = None,
) -> tuple[Bundle, DeviceProfile]:
    """Open a bundle with the levels that the device takes, and return it with the profile to run with.

    Args:
        path: The bundle's folder.
        device: Device profile, by name, YAML file or value; by default the one the bundle was built for.
        check_hashes: Compare every file with its SHA-256 first.
        trusted_keys: Public keys, one of which must have signed the bundle. A device's profile that demands a
            signature brings its own.
        accepted: The newest bundle that was accepted before; an older one is refused.

    Raises:
        BundleError: When the bundle is damaged or was changed, or is not signed as demanded.
        ProfileError: When the profile has a mistake in it.
        UnknownNameError: When there is no profile of that name.
    """
    given = load_profile(device) if isinstance(device, (str, os.PathLike)) else device
    if not trusted_keys and given is not None and given.deploy.require_signature:
        trusted_keys = given.deploy.trusted_keys
    identity = check_signature(Path(path), trusted_keys) if trusted_keys else None
    max_level = given.deploy.max_level if given is not None else None
    bundle = open_bundle(path, check_hashes=check_hashes, max_level=max_level)
    if identity is not None:
        if bundle.identity != identity:
            raise BundleError("The bundle was changed while it was being opened")
        check_counter(bundle.manifest.counter, identity, accepted)
    profile = resolve_profile(bundle, given)
    if given is None and profile.deploy.max_level is not None:
        bundle = open_bundle(path, check_hashes=False, max_level=profile.deploy.max_level)
    return bundle, profile


def why_not_loadable(variant: Variant) -> str | None:
    """Return why a variant cannot be loaded on this machine, or None when it can."""
    try:
        adapter = find_adapter(variant.runtime)
    except (RuntimeUnavailableError, UnknownNameError, PluginError) as error:
        return str(error).rstrip(".")
    return next(filter(None, map(adapter.missing, segment_variants(variant))), None)


def choices_of(variant: Variant) -> tuple[str, ...]:
    """Return what the profile's `runtime.choice` may name for a variant; a segment without it takes its own first."""
    adapter = find_adapter(variant.runtime)
    every = (adapter.choices(segment) for segment in segment_variants(variant))
    return tuple(dict.fromkeys(choice for choices in every for choice in choices))


def choose_variant(bundle: Bundle, profile: DeviceProfile, wanted: str | None = None) -> Variant:
    """Return the variant to run: the wanted one, else the first of the profile, else the bundle's first that loads.

    Raises:
        UnknownNameError: When the bundle has no variant of the wanted name.
        RuntimeUnavailableError: When no variant's runtime is installed.
    """
    if wanted is not None:
        return bundle.manifest.variant(wanted)
    reasons = []
    for variant in _in_order(bundle, profile):
        reason = why_not_loadable(variant)
        if reason is None:
            return variant
        reasons.append(f"{variant.name}: {reason}")
    raise RuntimeUnavailableError(
        "No variant of the bundle can be loaded here",
        found="; ".join(reasons),
        fix="Install one of the runtimes",
    )


def passed_over(bundle: Bundle, profile: DeviceProfile, chosen: Variant) -> list[str]:
    """Return a sentence on each variant that the profile prefers to the chosen one and that cannot be loaded here."""
    sentences = []
    for variant in _in_order(bundle, profile):
        if variant.name == chosen.name:
            break
        reason = why_not_loadable(variant)
        if reason is not None:
            sentences.append(
                f"{variant.name} comes first in the profile and cannot be loaded here: {reason}. "
                f"{chosen.name} runs in its place."
            )
    return sentences


def _in_order(bundle: Bundle, profile: DeviceProfile) -> list[Variant]:
    """Return a bundle's variants, those of the profile first and in its order."""
    preferred = {name: place for place, name in enumerate(profile.variants)}
    return sorted(bundle.manifest.variants, key=lambda v: preferred.get(v.name, len(preferred)))


def open_adapter(
    bundle: Bundle, variant: Variant, profile: DeviceProfile, cache: CachePath, *, into: Path | None = None
) -> Opened:
    """Load a variant of a bundle.

    Args:
        bundle: The bundle.
        variant: Its variant.
        profile: Runtime settings.
        cache: Folder for files that the runtime derives.
        into: Existing folder; the times of operators are noted in its folders `0`, `1` ..., one per segment
            (`elsa_edge.plugins.OperatorTimer`).

    Raises:
        BundleError: When the variant is damaged or does not have the levels that the manifest promises.
        RuntimeUnavailableError: When its runtime is not installed, or tells no times of operators.
    """
    adapter, parts = find_adapter(variant.runtime), segment_variants(variant)
    opened_parts: list[Opened] = []
    place = None if cache is None else Path(cache)
    levels, runtime = bundle.levels_in(variant), profile.runtime
    try:
        for number, part in enumerate(parts):
            if into is None:
                one = adapter.open(bundle.folder, part, level_count=levels, runtime=runtime, cache=place)
            else:
                (into / str(number)).mkdir()
                one = adapter.open_timed(
                    bundle.folder,
                    part,
                    level_count=levels,
                    runtime=runtime,
                    cache=place,
                    into=into / str(number),
                )
            opened_parts.append(one)
    except BaseException:
        for one in opened_parts:
            one.close()
        raise
    opened = opened_parts[0]
    if isinstance(variant.instructions, Rerouted):
        opened = Chain(variant.instructions.segments, opened_parts, bundle.inputs, bundle.outputs)
    try:
        _require_fit(bundle, variant, opened)
    except ElsaError:
        opened.close()
        raise
    return opened


def _require_fit(bundle: Bundle, variant: Variant, opened: Opened) -> None:
    """Refuse a loaded variant whose levels, inputs or outputs are not those of the manifest."""
    levels = bundle.levels_in(variant)
    if opened.level_count != levels:
        raise BundleError(
            f"The variant {variant.name} has another number of levels than the bundle",
            expected=levels,
            found=opened.level_count,
        )
    for what, promised, found in (
        ("inputs", bundle.inputs, opened.inputs),
        ("outputs", bundle.outputs, opened.outputs),
    ):
        if set(promised) != set(found) or not all(
            spec.agrees(found[name]) for name, spec in promised.items()
        ):
            raise BundleError(
                f"The variant {variant.name} has other {what} than the network",
                expected=", ".join(map(str, promised.values())),
                found=", ".join(map(str, found.values())) or "none",
            )
