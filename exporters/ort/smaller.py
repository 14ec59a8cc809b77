"""Time levels without their dead channels against the same levels with them, on a device of this machine's kind."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

import onnx_ir as ir

from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.inputs import take_samples
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["is_here", "smaller_over_whole"]

_ARCHITECTURES: Final = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}
_SECONDS: Final = 4.0  # for all levels, so that large networks do not delay a build


def is_here(profile: DeviceProfile) -> bool:
    """Tell whether times of this machine say something about the device."""
    return _ARCHITECTURES.get(platform.machine()) == profile.hardware.arch and profile.hardware.os == "linux"


def smaller_over_whole(graph: CanonicalGraph, profile: DeviceProfile, golden: Golden) -> dict[int, float]:
    """Return level -> time without dead channels over time with them; levels without such channels are left out."""
    found: dict[int, float] = {}
    with scratch_folder() as temporary:
        for level in range(len(graph.ladder)):
            whole = at_level(graph, level, drop_dead_channels=False)
            smaller = at_level(graph, level)
            if _weights(smaller) == _weights(whole):
                continue
            files = [Path(temporary, f"{level}_{name}.onnx") for name in ("whole", "smaller")]
            for file, model in zip(files, (whole, smaller), strict=True):
                write_bytes(file, ir.to_proto(model).SerializeToString())
            sample = take_samples(graph.inputs, golden.inputs, 0, 1)
            watch = Stopwatch(sample, profile.runtime, _SECONDS / len(graph.ladder))
            found[level] = watch.over_first(files, [], level)[0]
    return found


def _weights(model: ir.Model) -> int:
    """Return how many numbers the initializers hold."""
    return sum(v.const_value.size for v in model.graph.initializers.values() if v.const_value is not None)
