"""Check a bundle with nothing but the bundle: hashes, and every level of every variant against the golden outputs.

max |variant - canonical| <= tolerance * max(1, max |canonical|)        for each output, at each level
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle import Bundle, Golden, Tolerance, Variant, largest_difference, open_bundle
from elsa_edge.errors import BundleError, RuntimeUnavailableError
from elsa_edge.loading import CachePath, open_adapter, resolve_profile, why_not_loadable
from elsa_edge.plugins import RuntimeAdapter
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["LevelCheck", "VariantCheck", "Verification", "check_variant", "verify_bundle"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LevelCheck:
    """How one level of a variant compares with the golden outputs.

    Attributes:
        level: Its number.
        name: Its name in the ladder.
        max_difference: Largest absolute difference over all outputs; infinite where shapes or NaNs differ.
        allowed: The largest difference that the contract allows for the output that is nearest to its limit.
        agreement: Share of rows whose largest entry is in the same place, over all outputs with at least two axes.
        ok: Whether every output is within the contract.
    """

    level: int
    name: str
    max_difference: float
    allowed: float
    agreement: float | None
    ok: bool


@dataclass(frozen=True, slots=True)
class VariantCheck:
    """How one variant compares; `skipped` says why it could not be loaded here."""

    name: str
    runtime: str
    levels: tuple[LevelCheck, ...] = ()
    skipped: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every level is within the contract; a skipped variant is not."""
        return self.skipped is None and all(level.ok for level in self.levels)


@dataclass(frozen=True, slots=True)
class Verification:
    """The whole result. `ok` when at least one variant was checked and none failed."""

    bundle: str
    variants: tuple[VariantCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether the bundle can be trusted here."""
        checked = [variant for variant in self.variants if variant.skipped is None]
        return bool(checked) and all(variant.ok for variant in checked)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "bundle": self.bundle,
            "ok": self.ok,
            "variants": [
                {
                    "name": variant.name,
                    "runtime": variant.runtime,
                    "ok": variant.ok,
                    "skipped": variant.skipped,
                    "levels": [asdict(level) for level in variant.levels],
                }
                for variant in self.variants
            ],
        }


def verify_bundle(
    path: str | os.PathLike[str],
    *,
    device: str | os.PathLike[str] | DeviceProfile | None = None,
    cache: CachePath = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Check hashes, then the numbers of every variant whose runtime is installed.

    Args:
        path: The bundle.
        device: Profile with the runtime settings; by default the one the bundle was built for.
        cache: Folder for files derived on this device, so that what is checked is what will run.
        progress: Called with a line for each step.

    Raises:
        BundleError: When a file is missing, changed, extra or escapes, or a variant does not load.
        RuntimeUnavailableError: When not one runtime is installed.
    """
    bundle = open_bundle(path)
    profile = resolve_profile(bundle, device)
    tell = progress or (lambda _: None)
    tell(f"{len(bundle.manifest.files)} files are as the manifest says")
    checks = []
    for variant in bundle.manifest.variants:
        reason = why_not_loadable(variant)
        if reason is not None:
            checks.append(VariantCheck(variant.name, variant.runtime, skipped=reason))
            tell(f"{variant.name}: skipped, {reason}")
            continue
        check = check_variant(bundle, variant, profile, cache)
        checks.append(check)
        tell(
            f"{variant.name}: {'within' if check.ok else 'OUTSIDE'} the contract at {len(check.levels)} levels"
        )
    if all(check.skipped for check in checks):
        raise RuntimeUnavailableError(
            "No variant of the bundle can be loaded here",
            found="; ".join(f"{check.name}: {check.skipped}" for check in checks),
            fix="Install one of the runtimes",
        )
    return Verification(str(bundle.folder), tuple(checks))


def check_variant(bundle: Bundle, variant: Variant, profile: DeviceProfile, cache: CachePath) -> VariantCheck:
    """Run a variant on the golden inputs at every level and compare."""
    adapter = open_adapter(bundle, variant, profile, cache)
    try:
        levels = tuple(
            _check_level(adapter, bundle.golden, variant, level, bundle.ladder[level].name)
            for level in range(len(bundle.ladder))
        )
    finally:
        adapter.close()
    return VariantCheck(variant.name, variant.runtime, levels)


def _check_level(
    adapter: RuntimeAdapter, golden: Golden, variant: Variant, level: int, name: str
) -> LevelCheck:
    expected = golden.outputs[level]
    found = adapter.run(golden.inputs, level)
    if set(found) != set(expected):
        raise BundleError(
            f"The variant {variant.name} has other outputs than the canonical graph",
            expected=", ".join(expected),
            found=", ".join(found),
        )
    tolerance = Tolerance(variant.relative_tolerance)
    pairs = {output: largest_difference(found[output], expected[output]) for output in expected}
    nearest = max(pairs.values(), key=lambda pair: pair[0] / max(1.0, pair[1]))
    agreement = _agreement(found, expected)
    enough = variant.minimum_agreement is None or agreement is None or agreement >= variant.minimum_agreement
    return LevelCheck(
        level=level,
        name=name,
        max_difference=max(difference for difference, _ in pairs.values()),
        allowed=tolerance.relative * max(1.0, nearest[1]),
        agreement=agreement,
        ok=enough and all(tolerance.allows(difference, scale) for difference, scale in pairs.values()),
    )


def _agreement(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float | None:
    """Return the share of rows (last axis) whose largest entry is in the same place, over all outputs together."""
    same = total = 0
    for output, array in expected.items():
        if array.ndim >= 2 and array.shape[-1] > 1 and found[output].shape == array.shape and array.size:
            places = np.argmax(found[output], axis=-1) == np.argmax(array, axis=-1)
            same, total = same + int(np.count_nonzero(places)), total + places.size
    return same / total if total else None
