"""Tune a profile to this machine: which variant, and which of its choices of kernels, is fastest here.

    score = geometric mean over all levels of the lower quartile of an inference's time

A bundle is often built on another machine, where the choice of kernels was timed or only estimated. Candidates are the
variants that the profile lists, with every choice that their files offer. None is taken that is less exact than the
preferred one, or that needs far more memory; and none for a gain that may be luck.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from elsa_edge.bundle import Bundle, Variant
from elsa_edge.errors import ElsaError
from elsa_edge.loading import CachePath, choices_of, choose_variant, open_adapter, why_not_loadable
from elsa_edge.measure import one_sample
from elsa_edge.profiles.schema import DeviceProfile, Runtime
from elsa_edge.progress import told
from elsa_edge.running.rotation import rounds
from elsa_edge.verify import check_variant

__all__ = ["Candidate", "preferring", "tune"]

_WORTHWHILE: Final = 0.95
_MORE_MEMORY: Final = 1.5
# Each candidate is opened that often: sessions of one network differ by how memory happens to be laid out.
_PASSES: Final = 2
_FEWEST_TURNS: Final = 3
_MOST_TURNS: Final = 50
_NOTHING_TO_CHOOSE: Final = Runtime().choice

Setting = tuple[Variant, DeviceProfile]  # what is opened, and as which profile says


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to run a bundle, and how long it takes here.

    Attributes:
        variant: Name of the variant.
        choice: Which of its choices of kernels.
        level_ms: Time of an inference at each level.
    """

    variant: str
    choice: str
    level_ms: tuple[float, ...]

    @property
    def score_ms(self) -> float:
        """Geometric mean over the levels."""
        return float(np.exp(np.mean(np.log(self.level_ms))))


def tune(
    bundle: Bundle,
    profile: DeviceProfile,
    *,
    cache: CachePath = None,
    seconds: float = 5.0,
    tell: Callable[[str], None],
) -> tuple[DeviceProfile, list[Candidate]]:
    """Return the profile with the fastest variant first and its fastest choice, and what was timed.

    Args:
        bundle: The bundle.
        profile: The device profile; variants of the bundle that it does not list are not considered.
        cache: Folder for files that the runtime derives on this machine.
        seconds: How long to time, all candidates together.
        tell: Called with a line for each step.

    Raises:
        RuntimeUnavailableError: When no variant can be loaded here.
    """
    preferred = choose_variant(bundle, profile)
    settings = _settings(bundle, profile, preferred, cache)
    if len(settings) == 1:
        return profile, []
    tell(told(f"timing {len(settings)} ways to run the bundle, about {seconds:g} s", 0.0))
    samples: list[list[list[float]]] = [[[] for _ in bundle.ladder] for _ in settings]
    for _ in range(_PASSES):
        for setting, times in zip(settings, samples, strict=True):
            _time(bundle, setting, times, cache, seconds / len(settings) / _PASSES)
    candidates = [
        Candidate(
            variant.name,
            tuned.runtime.choice,
            tuple(float(np.quantile(level, 0.25)) * 1e3 for level in times),
        )
        for (variant, tuned), times in zip(settings, samples, strict=True)
    ]
    order = sorted(range(len(settings)), key=lambda number: candidates[number].score_ms)
    for number in order:
        if candidates[number].score_ms > _WORTHWHILE * candidates[0].score_ms:
            break
        variant, tuned = settings[number]
        if check_variant(bundle, variant, tuned, cache).ok:
            return preferring(tuned, variant.name), candidates
        tell(f"{variant.name} ({tuned.runtime.choice}) is fast but not exact here, and is left alone")
    return profile, candidates


def preferring(profile: DeviceProfile, variant: str) -> DeviceProfile:
    """Return a profile that names a variant first."""
    others = tuple(name for name in profile.variants if name != variant)
    return profile.model_copy(update={"variants": (variant, *others)})


def _settings(bundle: Bundle, profile: DeviceProfile, preferred: Variant, cache: CachePath) -> list[Setting]:
    """Return what may be timed, the profile's own setting first."""
    found = [(preferred, profile)]
    limit_bytes = _MORE_MEMORY * _memory_bytes(bundle, found[0], cache)
    for variant in bundle.manifest.variants:
        if variant.name not in profile.variants or why_not_loadable(variant) is not None:
            continue
        if _less_exact(variant, preferred):
            continue
        for choice in choices_of(variant) or (_NOTHING_TO_CHOOSE,):
            runtime = profile.runtime.model_copy(update={"choice": choice})
            setting = (variant, profile.model_copy(update={"runtime": runtime}))
            if setting not in found and _memory_bytes(bundle, setting, cache) <= limit_bytes:
                found.append(setting)
    return found


def _less_exact(variant: Variant, preferred: Variant) -> bool:
    return variant.relative_tolerance > preferred.relative_tolerance or (
        variant.minimum_agreement is not None and preferred.minimum_agreement is None
    )


def _memory_bytes(bundle: Bundle, setting: Setting, cache: CachePath) -> float:
    """Return what the densest level needs; without limit where the variant cannot be opened."""
    try:
        adapter = open_adapter(bundle, *setting, cache)
    except ElsaError:
        return math.inf
    try:
        return adapter.memory().at(len(bundle.ladder) - 1)
    finally:
        adapter.close()


def _time(
    bundle: Bundle, setting: Setting, times: Sequence[list[float]], cache: CachePath, seconds: float
) -> None:
    """Add times of an inference, in seconds, to the list of each level."""
    variant, profile = setting
    inputs = one_sample(bundle)
    adapter = open_adapter(bundle, variant, profile, cache)
    try:
        for level, found in enumerate(times):
            adapter.run(inputs, level)
            for _ in rounds(seconds / len(times), fewest=_FEWEST_TURNS, most=_MOST_TURNS):
                began = time.perf_counter()
                adapter.run(inputs, level)
                found.append(time.perf_counter() - began)
    finally:
        adapter.close()
