"""Measure a bundle on this machine for a report: every variant at every level, its numbers, and sustained load.

Variants are measured one after the other, their levels in turns (`elsa_edge.measure`). A variant that cannot be loaded
here, or is outside the numeric contract, stays in the report and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from elsa_edge.bundle import Bundle, Variant
from elsa_edge.errors import ElsaError
from elsa_edge.layer_times import tells_layer_times, time_layers
from elsa_edge.loading import CachePath, open_adapter, why_not_loadable
from elsa_edge.measure import LevelTimes, conditions, fresh_level, one_sample, time_levels
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.progress import part, told
from elsa_edge.report.record import Check, LayerTime, Record, Window
from elsa_edge.verify import VariantCheck, check_variant

__all__ = ["measure_into", "sustain_into"]

_WINDOWS: Final = 60
_WARM_UP_RUNS: Final = 3


@dataclass(frozen=True)
class _Place:
    """Where and how variants are measured."""

    bundle: Bundle
    profile: DeviceProfile
    cache: CachePath
    tell: Callable[[str], None]


@dataclass
class _Taken:
    rows: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    layer_times: list[LayerTime] = field(default_factory=list)
    caches: list[str] = field(default_factory=list)


def measure_into(
    record: Record,
    bundle: Bundle,
    profile: DeviceProfile,
    *,
    variants: tuple[str, ...] = (),
    cache: CachePath = None,
    seconds: float = 10.0,
    tell: Callable[[str], None],
) -> Record:
    """Return the record with what was measured here.

    Args:
        record: What the bundle says about itself.
        bundle: The bundle.
        profile: Runtime settings to measure with.
        variants: Names of variants to measure; all of the bundle without.
        cache: Folder for files that runtimes derive.
        seconds: How long to time warm inferences, all variants together.
        tell: Called with a line for each step.

    Raises:
        ElsaError: When not one variant could be measured.
        UnknownNameError: When the bundle has no variant of a wanted name.
    """
    chosen = [bundle.manifest.variant(name) for name in variants] or list(bundle.manifest.variants)
    taken = _Taken()
    for number, variant in enumerate(chosen):
        own = part(tell, number / len(chosen), (number + 1) / len(chosen))
        place = _Place(bundle, profile, cache, own)
        reason = why_not_loadable(variant)
        if reason is None:
            try:
                _measure(taken, place, variant, seconds / len(chosen))
            except ElsaError as error:
                reason = str(error)
        if reason is not None:
            taken.checks.append(Check(variant=variant.name, ok=False, skipped=reason))
            own(told(f"{variant.name}: left out, {reason}", 1.0))
    if not taken.rows:
        raise ElsaError(
            "No variant of the bundle could be measured here",
            found="; ".join(f"{check.variant}: {check.skipped}" for check in taken.checks),
        )
    rows = tuple(row.model_copy(update=taken.rows.get((row.variant, row.level), {})) for row in record.rows)
    return record.model_copy(
        update={
            "rows": rows,
            "checks": tuple(taken.checks),
            "layer_times": tuple(taken.layer_times),
            "conditions": conditions(profile, seconds, "; ".join(taken.caches))
            | {"choice": profile.runtime.choice},
        }
    )


def sustain_into(
    record: Record,
    bundle: Bundle,
    profile: DeviceProfile,
    *,
    variant: str,
    level: int,
    cache: CachePath = None,
    seconds: float,
    tell: Callable[[str], None],
) -> Record:
    """Return the record with the speed of one level over a long time without a pause: what heat does."""
    tell(f"{variant} level {level}: {seconds:g} s without a pause")
    adapter = open_adapter(bundle, bundle.manifest.variant(variant), profile, cache)
    inputs = one_sample(bundle)
    windows: list[Window] = []
    for _ in range(_WARM_UP_RUNS):
        adapter.run(inputs, level)
    began_s = time.monotonic()
    try:
        while (passed_s := time.monotonic() - began_s) < seconds or not windows:
            ends_s = min(seconds, passed_s + seconds / _WINDOWS)
            times_ms: list[float] = []
            while not times_ms or time.monotonic() - began_s < ends_s:
                start_s = time.perf_counter()
                adapter.run(inputs, level)
                times_ms.append((time.perf_counter() - start_s) * 1e3)
            p50_ms, p95_ms = (float(value) for value in np.percentile(times_ms, (50, 95)))
            until_s = time.monotonic() - began_s
            windows.append(Window(until_s=until_s, p50_ms=p50_ms, p95_ms=p95_ms, runs=len(times_ms)))
    finally:
        adapter.close()
    return record.model_copy(
        update={"sustained": tuple(windows), "sustained_variant": variant, "sustained_level": level}
    )


def _measure(taken: _Taken, place: _Place, variant: Variant, seconds: float) -> None:
    """Verify and time one variant; nothing of it is kept when a step fails."""
    where = (place.bundle, variant, place.profile, place.cache)
    check = check_variant(*where)
    place.tell(told(f"{variant.name}: {'within' if check.ok else 'OUTSIDE'} the numeric contract", 0.2))
    adapter = open_adapter(*where)
    try:
        times = time_levels(adapter, one_sample(place.bundle), seconds, part(place.tell, 0.2, 0.6))
        estimate = adapter.memory()
        cache = f"{variant.name}: {adapter.cache}"
    finally:
        adapter.close()
    rows = {}
    for level, found in enumerate(times):
        share = 0.6 + 0.3 * level / len(times)
        place.tell(told(f"{variant.name} level {level}: memory and cold run", share))
        fresh = fresh_level(*where, level)
        memory = int(fresh.get("memory_bytes", estimate.at(level)))
        rows[variant.name, level] = _figures(found) | {
            "first_ms": fresh.get("first_ms"),
            "cold_ms": fresh.get("cold_ms"),
            "memory_bytes": memory,
        }
    timed: list[LayerTime] = []
    if tells_layer_times(variant):
        place.tell(told(f"{variant.name}: time of each layer", 0.9))
        timed = [LayerTime(variant=variant.name, **asdict(layer)) for layer in time_layers(*where)]
    taken.rows |= rows
    taken.layer_times += timed
    taken.caches.append(cache)
    taken.checks += _checks(check)


def _figures(times: LevelTimes) -> dict[str, Any]:
    """Return the fields of a row that come from warm inferences."""
    return {"runs": len(times.warm_ms), "switch_ms": times.switch_ms, **times.quantiles()}


def _checks(check: VariantCheck) -> list[Check]:
    return [
        Check(
            variant=check.name,
            level=level.level,
            max_difference=level.max_difference if np.isfinite(level.max_difference) else None,
            allowed=level.allowed if np.isfinite(level.allowed) else None,
            agreement=level.agreement,
            ok=level.ok,
        )
        for level in check.levels
    ]
