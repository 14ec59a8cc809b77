"""From a bundle and a device profile to a loaded variant: which one, through which adapter, with which cache.

Needs what a device has: numpy, pydantic, PyYAML and one runtime.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from elsa_edge.bundle import Bundle, Variant
from elsa_edge.errors import BundleError, ElsaError, RuntimeUnavailableError, UnknownNameError
from elsa_edge.nested_format.library import library_path
from elsa_edge.plugins import AdapterOpener, RuntimeAdapter
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.registry import ADAPTERS, find

__all__ = [
    "PROFILE_NAME",
    "CachePath",
    "choose_variant",
    "default_cache",
    "open_adapter",
    "resolve_profile",
    "why_not_loadable",
]

PROFILE_NAME: Final = "device.yaml"  # the profile that the bundle was built for, inside the bundle
CachePath = Path | str | None
# What an adapter's module imports only when it opens something, so that it is known before.
_PACKAGES: Final = {"onnxruntime": ("onnxruntime",), "litert": ("ai_edge_litert", "tflite_runtime")}


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
        ProfileError: When the profile has a mistake in it.
        UnknownNameError: When there is no profile of that name.
    """
    if isinstance(device, DeviceProfile):
        return device
    if device is not None:
        return load_profile(device)
    carried = bundle.folder / PROFILE_NAME
    if any(entry.path == PROFILE_NAME for entry in bundle.manifest.files):
        return load_profile(carried)
    return load_profile(bundle.manifest.device)


def _opener(runtime: str) -> AdapterOpener:
    opener: AdapterOpener = find(ADAPTERS, runtime)
    return opener


def why_not_loadable(variant: Variant) -> str | None:
    """Return why a variant cannot be loaded on this machine, or None when it can."""
    packages = _PACKAGES.get(variant.runtime, ())
    if packages and not any(find_spec(package) for package in packages):
        return f"{' or '.join(packages)} is not installed"
    if variant.options.get("custom_ops") and library_path() is None:
        return "our kernels were not compiled on this machine (python -m elsa_edge.runtime_adapters.kernels.build)"
    try:
        _opener(variant.runtime)
    except (RuntimeUnavailableError, UnknownNameError) as error:
        return str(error)
    return None


def choose_variant(bundle: Bundle, profile: DeviceProfile, wanted: str | None = None) -> Variant:
    """Return the variant to run: the wanted one, else the first of the profile, else the bundle's first that loads.

    Raises:
        UnknownNameError: When the bundle has no variant of the wanted name.
        RuntimeUnavailableError: When no variant's runtime is installed.
    """
    if wanted is not None:
        return bundle.manifest.variant(wanted)
    preferred = {name: place for place, name in enumerate(profile.variants)}
    ordered = sorted(bundle.manifest.variants, key=lambda v: preferred.get(v.name, len(preferred)))
    reasons = []
    for variant in ordered:
        reason = why_not_loadable(variant)
        if reason is None:
            return variant
        reasons.append(f"{variant.name}: {reason}")
    raise RuntimeUnavailableError(
        "No variant of the bundle can be loaded here",
        found="; ".join(reasons),
        fix="Install one of the runtimes",
    )


def open_adapter(
    bundle: Bundle, variant: Variant, profile: DeviceProfile, cache: CachePath
) -> RuntimeAdapter:
    """Load a variant of a bundle.

    Raises:
        BundleError: When the variant is damaged or does not have the levels that the manifest promises.
        RuntimeUnavailableError: When its runtime is not installed.
    """
    folder = None if cache is None else Path(cache)
    adapter = _opener(variant.runtime)(bundle.folder, variant, profile.runtime, folder)
    try:
        if adapter.level_count != len(bundle.ladder):
            raise BundleError(
                f"The variant {variant.name} has another number of levels than the bundle",
                expected=len(bundle.ladder),
                found=adapter.level_count,
            )
    except ElsaError:
        adapter.close()
        raise
    return adapter
