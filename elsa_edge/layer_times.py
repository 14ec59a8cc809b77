"""Measure which layers take the time of an inference, level by level, by the runtime's own profiling.

    time of a layer    median over runs of the operators that bear one of its names (elsa_edge.graph.layer_names)
    an operator        that belongs to no nested layer stands for itself

Each level runs in a session of its own. Profiling costs a little at each operator: the shares are what counts, and the
whole is a little more than an inference takes.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from elsa_edge.bundle import Bundle, Variant
from elsa_edge.files import scratch_folder
from elsa_edge.loading import CachePath, open_adapter
from elsa_edge.measure import one_sample
from elsa_edge.plugins import OperatorTime
from elsa_edge.plugins.chain import segment_variants
from elsa_edge.plugins.installed import find_adapter
from elsa_edge.profiles.schema import DeviceProfile, MeasuredLayer

__all__ = ["LayerTime", "tells_layer_times", "time_layers", "with_layer_times"]

_WARM_UP_RUNS: Final = 2
_RUNS: Final = 9
# Branches of a level begin with its number; runtimes append what they made of an operator.
_LEVEL: Final = re.compile(r"^\d+/")
_APPENDED: Final = re.compile(r"^(\.|_nchwc|$)")


@dataclass(frozen=True, slots=True)
class LayerTime:
    """What one layer takes.

    Attributes:
        name: Of its nested weight, or of the operator where it has none.
        kind: Types of its operators in the runtime's words, sparsest level first where they differ.
        level_ms: At each level, sparsest first; None where it does not run.
    """

    name: str
    kind: str
    level_ms: tuple[float | None, ...]


def tells_layer_times(variant: Variant) -> bool:
    """Tell whether the runtime of a variant, which is installed, says how long operators take."""
    return find_adapter(variant.runtime).times_operators


def time_layers(
    bundle: Bundle, variant: Variant, profile: DeviceProfile, cache: CachePath = None
) -> tuple[LayerTime, ...]:
    """Return what each layer of a variant takes on this machine, in the order they run at the densest level.

    Raises:
        BundleError: When the variant is damaged.
        InferenceError: When the runtime noted nothing.
        RuntimeUnavailableError: When the runtime is not installed, or does not tell.
    """
    place = _Place(bundle, variant, profile, cache, _owners(bundle.manifest.provenance.get("layers")))
    levels = [place.level(level) for level in range(bundle.levels_in(variant))]
    names = dict.fromkeys(name for level in reversed(levels) for name in level)
    return tuple(
        LayerTime(
            name,
            ", ".join(dict.fromkeys(level[name][1] for level in levels if name in level)),
            tuple(round(level[name][0], 4) if name in level else None for level in levels),
        )
        for name in names
    )


def with_layer_times(bundle: Bundle, profile: DeviceProfile, cache: CachePath = None) -> DeviceProfile:
    """Return a measured profile with the layers of its variant timed, as it is where the runtime does not tell.

    Raises as `time_layers`.
    """
    measured = profile.measured
    assert measured is not None  # who calls has just measured it
    assert measured.variant is not None
    variant = bundle.manifest.variant(measured.variant)
    if not tells_layer_times(variant):
        return profile
    layers = tuple(MeasuredLayer(**asdict(layer)) for layer in time_layers(bundle, variant, profile, cache))
    return profile.model_copy(update={"measured": measured.model_copy(update={"layers": layers})})


@dataclass(frozen=True, slots=True)
class _Place:
    """What is timed, where and how; `owners` is the layer of each name that an operator may bear."""

    bundle: Bundle
    variant: Variant
    profile: DeviceProfile
    cache: CachePath
    owners: Mapping[str, str]

    def level(self, level: int) -> dict[str, tuple[float, str]]:
        """Return layer -> median milliseconds and kinds, at one level."""
        adapter, inputs = find_adapter(self.variant.runtime), one_sample(self.bundle)
        with scratch_folder() as into:
            opened = open_adapter(self.bundle, self.variant, self.profile, self.cache, into=into)
            try:
                for _ in range(_WARM_UP_RUNS + _RUNS):
                    opened.run(inputs, level)
            finally:
                opened.close()
            segments = range(len(segment_variants(self.variant)))
            noted = [adapter.operator_times(into / str(number))[-_RUNS:] for number in segments]
        runs = [[one for part in parts for one in part] for parts in zip(*noted, strict=True)]
        sums = [_by_layer(run, self.owners) for run in runs]
        kinds: dict[str, dict[str, None]] = {}
        for one in runs[-1]:
            kinds.setdefault(_layer_of(one.name, self.owners), {})[one.kind] = None
        return {
            name: (statistics.median(run.get(name, 0.0) for run in sums), " + ".join(found))
            for name, found in kinds.items()
        }


def _by_layer(run: Sequence[OperatorTime], owners: Mapping[str, str]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for one in run:
        name = _layer_of(one.name, owners)
        sums[name] = sums.get(name, 0.0) + one.took_ms
    return sums


def _owners(layers: Any) -> dict[str, str]:
    """Return name of a node or value -> nested weight, as `build` noted; bundles of older versions have none."""
    if not isinstance(layers, list):
        return {}
    return {
        str(name): str(layer["name"])
        for layer in layers
        if isinstance(layer, dict) and isinstance(layer.get("names"), list) and "name" in layer
        for name in layer["names"]
    }


def _layer_of(operator: str, owners: Mapping[str, str]) -> str:
    """Return the layer whose name an operator bears, with nothing behind it but what runtimes append; else its own."""
    own = _LEVEL.sub("", operator)
    for end in range(len(own), 0, -1):
        if own[:end] in owners and _APPENDED.match(own[end:]):
            return owners[own[:end]]
    return own
