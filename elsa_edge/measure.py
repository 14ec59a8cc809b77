"""Measure a bundle on this machine: latency, switch cost and memory of every level, into a profile's `measured` table.

    memory     in a process of its own per level: resident memory after running - before loading
    first      from opening the variant in that process to its first answer
    cold       the first inference of that process
    p50 .. p99 warm inferences; the levels take turns, so that a slow minute hits all of them
    switch     first inference after coming from another level - p50

`python -m elsa_edge.measure` is the process of its own; nobody else needs to call it.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle import Bundle, Variant
from elsa_edge.errors import ElsaError
from elsa_edge.files import scratch_folder
from elsa_edge.inputs import take_samples
from elsa_edge.loading import CachePath, choose_variant, open_adapter, open_for, resolve_profile
from elsa_edge.plugins import Opened
from elsa_edge.profiles import save_profile
from elsa_edge.profiles.schema import DeviceProfile, Measured, MeasuredLevel
from elsa_edge.progress import told
from elsa_edge.running.children import run_child
from elsa_edge.running.rotation import order, rounds

__all__ = ["LevelTimes", "conditions", "fresh_level", "measure_bundle", "one_sample", "time_levels"]

Array = npt.NDArray[Any]
Progress = Callable[[str], None]

_WARM_UP_RUNS: Final = 2
_RUNS_A_TURN: Final = 5
_FEWEST_TURNS: Final = 4
_MOST_TURNS: Final = 200
_LONGEST_CHILD_S: Final = 600
# What a process of its own takes, roughly: for the time that is left.
_FRESH_LEVEL_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class LevelTimes:
    """How long inferences at one level took.

    Attributes:
        warm_ms: Each inference after another one at the same level, in order.
        first_ms: Each first inference after coming from another level; empty where there is only one level.
    """

    warm_ms: tuple[float, ...]
    first_ms: tuple[float, ...]

    def quantile_ms(self, percent: float) -> float:
        """Return a percentile of the warm inferences."""
        return float(np.percentile(self.warm_ms, percent))

    def quantiles(self) -> dict[str, float]:
        """Return p50, p90, p95 and p99 as `p50_ms` and so on."""
        return {f"p{percent}_ms": self.quantile_ms(percent) for percent in (50, 90, 95, 99)}

    @property
    def switch_ms(self) -> float:
        """What a change to this level costs beyond one warm inference."""
        if not self.first_ms:
            return 0.0
        return max(0.0, float(np.median(self.first_ms)) - self.quantile_ms(50))


def measure_bundle(
    bundle: str | os.PathLike[str] | Bundle,
    device: str | os.PathLike[str] | DeviceProfile | None = None,
    *,
    variant: str | None = None,
    cache: CachePath = None,
    seconds: float = 10.0,
    progress: Progress | None = None,
) -> DeviceProfile:
    """Return the device profile with a `measured` table for this bundle, made on this machine.

    Args:
        bundle: The bundle.
        device: Its profile; by default the one the bundle was built for.
        variant: The variant to measure; by default the profile's first that loads here.
        cache: Folder for files that the runtime derives on this machine.
        seconds: How long to measure warm inferences, all levels together.
        progress: Called with a line for each step.

    Raises:
        BundleError: When the bundle is damaged.
        RuntimeUnavailableError: When no variant's runtime is installed.
    """
    tell = progress or (lambda _: None)
    if isinstance(bundle, Bundle):
        opened, profile = bundle, resolve_profile(bundle, device)
    else:
        opened, profile = open_for(bundle, device)
    chosen = choose_variant(opened, profile, variant)
    # Opening fills the cache, so that the cold runs below find it.
    adapter = open_adapter(opened, chosen, profile, cache)
    try:
        warm = time_levels(adapter, one_sample(opened), seconds, tell)
        estimate = adapter.memory()
    finally:
        adapter.close()
    rows = []
    begins = seconds / (seconds + _FRESH_LEVEL_S * len(warm))
    for level, row in enumerate(opened.manifest.ladder):
        tell(
            told(
                f"level {level} ({row.name}): memory and cold run", begins + (1 - begins) * level / len(warm)
            )
        )
        fresh = fresh_level(opened, chosen, profile, cache, level)
        rows.append(
            MeasuredLevel(
                name=row.name,
                **warm[level].quantiles(),
                first_ms=fresh.get("first_ms"),
                cold_ms=fresh.get("cold_ms"),
                switch_ms=warm[level].switch_ms,
                memory_bytes=int(fresh.get("memory_bytes", estimate.at(level))),
                accuracy=row.accuracy,
            )
        )
    measured = Measured(
        bundle=opened.identity,
        variant=chosen.name,
        levels=tuple(rows),
        context=conditions(profile, seconds, str(adapter.cache)),
    )
    return DeviceProfile.model_validate(profile.model_copy(update={"measured": measured}))


def one_sample(bundle: Bundle) -> dict[str, Array]:
    """Return the first golden sample: a device rarely sees more than one input at a time."""
    return take_samples(bundle.inputs, bundle.golden.inputs, 0, 1)


def time_levels(
    adapter: Opened, inputs: Mapping[str, Array], seconds: float, tell: Progress
) -> list[LevelTimes]:
    """Time the levels in turns, sparsest first; see `elsa_edge.running.rotation`."""
    count = adapter.level_count
    runs: list[list[float]] = [[] for _ in range(count)]
    firsts: list[list[float]] = [[] for _ in range(count)]
    for level in range(count):
        for _ in range(_WARM_UP_RUNS):
            adapter.run(inputs, level)
    tell(told(f"warm runs of {count} levels in turns, about {seconds:g} s", 0.0))
    for turn in rounds(seconds, fewest=_FEWEST_TURNS, most=_MOST_TURNS):
        for level in order(count, turn):
            first = _timed_ms(adapter, inputs, level)
            if count > 1:
                firsts[level].append(first)
            runs[level].extend(_timed_ms(adapter, inputs, level) for _ in range(_RUNS_A_TURN))
    return [LevelTimes(tuple(warm), tuple(first)) for warm, first in zip(runs, firsts, strict=True)]


def _timed_ms(adapter: Opened, inputs: Mapping[str, Array], level: int) -> float:
    began = time.perf_counter()
    adapter.run(inputs, level)
    return (time.perf_counter() - began) * 1e3


def fresh_level(
    bundle: Bundle, variant: Variant, profile: DeviceProfile, cache: CachePath, level: int
) -> dict[str, float]:
    """Load and run one level in a process of its own; empty where none can be started.

    Returns:
        `first_ms` from opening to the first answer, `cold_ms` of that inference alone and, where the system tells,
        `memory_bytes` that it added.

    Raises:
        ElsaError: When it fails there.
    """
    if not sys.executable:
        return {}
    with scratch_folder() as folder:
        settings = Path(folder) / "device.yaml"
        save_profile(profile.model_copy(update={"measured": None}), settings)
        request = {
            "bundle": str(bundle.folder),
            "variant": variant.name,
            "device": str(settings),
            "cache": None if cache is None else str(cache),
            "level": level,
        }
        done = run_child("elsa_edge.measure", [json.dumps(request)], _LONGEST_CHILD_S)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()
        raise ElsaError(
            f"Level {level} does not run in a process of its own ({last[-1] if last else done.returncode})"
        )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _child(request: Mapping[str, Any]) -> dict[str, float]:
    bundle, profile = open_for(request["bundle"], request["device"], check_hashes=False)
    variant = bundle.manifest.variant(request["variant"])
    inputs = one_sample(bundle)
    before = _resident_bytes()  # the runtime's own code is loaded with the first session, and counts
    began = time.perf_counter()
    adapter = open_adapter(bundle, variant, profile, request["cache"])
    cold_ms = _timed_ms(adapter, inputs, request["level"])
    first_ms = (time.perf_counter() - began) * 1e3
    for _ in range(_WARM_UP_RUNS):
        adapter.run(inputs, request["level"])
    answer = {"first_ms": first_ms, "cold_ms": cold_ms}
    after = _resident_bytes()
    if before is not None and after is not None:
        answer["memory_bytes"] = max(0, after - before)
    adapter.close()
    return answer


def _resident_bytes() -> int | None:
    """Return this process's resident memory, or None where the system does not tell."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def conditions(profile: DeviceProfile, seconds: float, cache: str) -> dict[str, Any]:
    """Return the conditions of the measurement; nothing that names a person or a network."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "threads": profile.runtime.threads,
        "governor": governor.read_text(encoding="ascii").strip() if governor.is_file() else None,
        "load_average": load,
        "seconds": seconds,
        "batch": 1,
        "cache": cache,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.processor())


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))  # noqa: T201 - this is how the parent process is answered
