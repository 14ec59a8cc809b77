"""Decide for each level which layers are nested: estimate, and time some choices where the device is this machine.

    candidates = the estimate's choice with nested kernels 1x, 0.5x, 2x as slow as its rates say, and all layers
    choice     = the fastest of them, if it needs at most 0.95 of the time of the plain dense network, else dense;
                 dense without the channels that are zero at this level where that is faster

How fast nested kernels are relative to dense ones is what differs most between machines, and it decides where the
border between the two lies, so a handful of borders covers most machines without measuring single layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy.typing as npt

from elsa_edge.exporters.nested.lay_out import wasteful
from elsa_edge.exporters.nested.layer_set import DENSE, KernelChoice, LayerSet
from elsa_edge.exporters.nested.price import Rates, choose_layers
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.exporters.nested.write import write, write_dense
from elsa_edge.files import scratch_folder
from elsa_edge.profiles.schema import Runtime

__all__ = ["Verdict", "estimate", "judge_by_timing", "usable"]

_FACTORS: Final = (1.0, 0.5, 2.0)
# One session of a network is up to 5 % slower than the next one: where its memory lies differs (address-space layout).
_WORTHWHILE: Final = 0.95
# For timing all levels, so that large networks do not delay a build
_SECONDS: Final = 6.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided for a level, and on whose word.

    Attributes:
        choice: Positions of the nested layers; empty for plain dense.
        by: "timing" on this machine, "estimate", or "request" of the caller.
        time_over_dense: Time of the best candidate over that of the plain dense network, where it was timed.
        keep_dead: A dense level keeps channels that are zero there.
    """

    choice: KernelChoice
    by: Literal["timing", "estimate", "request"]
    time_over_dense: float | None = None
    keep_dead: bool = False


def estimate(layers: LayerSet, rates: Rates) -> list[Verdict]:
    """Return each level's choice by the cost model alone."""
    return [Verdict(_choose(layers, level, rates, 1.0), "estimate") for level in range(layers.count)]


def judge_by_timing(
    layers: LayerSet, rates: Rates, inputs: Mapping[str, npt.NDArray[Any]], runtime: Runtime
) -> list[Verdict]:
    """Return each level's choice, timed on this machine with the profile's threads.

    Args:
        layers: The network.
        rates: What the candidates start from.
        inputs: One sample.
        runtime: Of the device profile.
    """
    by_level = [_candidates(layers, level, rates) for level in range(layers.count)]
    smaller = {level for level in range(layers.count - 1) if layers.smaller_when_dense(level)}
    timed = [level for level, found in enumerate(by_level) if found or level in smaller]
    verdicts = [Verdict(DENSE, "estimate") for _ in range(layers.count)]
    with scratch_folder() as temporary:
        folder = Path(temporary)
        files = _write(layers, by_level, folder)
        dense = {level: folder / f"dense_{level}.onnx" for level in {layers.count - 1, *smaller}}
        for level, file in dense.items():
            write_dense(layers, file, level)
        watch = Stopwatch(inputs, runtime, _SECONDS / max(1, len(timed)))
        for level in timed:
            plain = [dense[layers.count - 1], *([dense[level]] if level in smaller else [])]
            ratios = watch.over_first(plain, files[: len(by_level[level])], level)
            dropped = ratios.pop(0) if level in smaller else 1.0
            verdicts[level] = _judge(by_level[level], ratios, dropped)
    return verdicts


def _judge(candidates: Sequence[KernelChoice], ratios: Sequence[float], dropped: float) -> Verdict:
    """Return the verdict for times relative to the dense network; `dropped` is that without dead channels."""
    best = min(range(len(ratios)), key=ratios.__getitem__, default=None)
    if best is None:
        return Verdict(DENSE, "timing", keep_dead=dropped > 1.0)
    told = round(ratios[best], 3)
    if ratios[best] <= _WORTHWHILE * min(1.0, dropped):
        return Verdict(candidates[best], "timing", told)
    return Verdict(DENSE, "timing", told, keep_dead=dropped > 1.0)


def usable(layers: LayerSet) -> KernelChoice:
    """Return all layers for which nested kernels make sense on any machine."""
    return frozenset(layer.position for layer in layers.layers if not wasteful(layer))


def _choose(layers: LayerSet, level: int, rates: Rates, factor: float) -> KernelChoice:
    return choose_layers(layers.nodes, layers.layers, layers.coded, level, rates, nested_factor=factor)


def _candidates(layers: LayerSet, level: int, rates: Rates) -> list[KernelChoice]:
    """Return different choices for a level, none of them dense, the estimate's first."""
    found = dict.fromkeys(_choose(layers, level, rates, factor) for factor in _FACTORS)
    found.pop(DENSE, None)
    if found:  # otherwise even twice as fast kernels would lose
        found[usable(layers)] = None
    return list(found)


def _write(layers: LayerSet, by_level: Sequence[Sequence[KernelChoice]], folder: Path) -> list[Path]:
    """Write one file for the first candidates of all levels, one for the second ones, ..."""
    files = []
    for number in range(max(map(len, by_level), default=0)):
        chosen = [found[number] if number < len(found) else DENSE for found in by_level]
        target = folder / str(number)
        target.mkdir()
        write(layers, target, chosen, only_nested=True)
        files.append(target / "model.onnx")
    return files
