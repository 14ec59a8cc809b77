"""How long inferences of the ONNX Runtime variants will take, before anything is built.

                   device of this machine's kind               another device
    dense network  timed here                                  the sum over layers at usual rates
    nested level   dense * the ratio of both, timed in turns   dense + what the chosen layers cost beside their dense
                   as `build` decides (choose.py)              kernels (price.py)

No trained weight is needed: random ones take the same time. The model is scaled down where it says more of the dense
layers than the whole network took. Networks in 8 bits: `elsa_edge.exporters.int8.forecast`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.exporters.nested.choose import estimate, judge_by_timing
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.layer_set import LayerSet, layer_set_of
from elsa_edge.exporters.nested.pace import rates_here, time_ms
from elsa_edge.exporters.nested.price import RATES, Prices, Rates, dense_us, nested_us
from elsa_edge.exporters.nested.stored import Stored
from elsa_edge.exporters.ort.smaller import is_here
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import MASKED
from elsa_edge.plugins import Forecast, LayerForecast
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.proof.making import made
from elsa_edge.running.onnx_session import open_session, options_for

__all__ = [
    "Pace",
    "dense_ms",
    "forecast_dense",
    "forecast_nested",
    "made_inputs",
    "others_ms",
    "pace_of",
    "timed_ms",
]

_HERE: Final = "networks with random weights were timed here, dense and with the kernels of each level"
_USUAL: Final = (
    "usual rates of {arch}, nothing was timed on the device: expect the right order, and a factor of two"
)
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """Rates of a device, whether they were timed here, and where they come from, for a person."""

    rates: Rates
    here: bool
    basis: str


def forecast_nested(
    graph: CanonicalGraph, profile: DeviceProfile, *, int8: bool = False, trial: bool = True
) -> Forecast:
    """Forecast `ort-nested`.

    Args:
        graph: The canonical graph.
        profile: The device.
        int8: Whether weights are stored in 8 bits.
        trial: Time the nested levels where the device is of this machine's kind; the cost model alone otherwise.
    """
    pace, layers = pace_of(profile), layer_set_of(graph, Stored.INT8 if int8 else Stored.FLOAT32)
    dense = dense_ms(graph, profile, pace, layers)
    if pace.here and trial:
        verdicts = judge_by_timing(layers, pace.rates, made_inputs(graph, 1), profile.runtime)
        level_ms = [
            dense * (verdict.time_over_dense or 1.0) if verdict.choice else dense for verdict in verdicts
        ]
    else:
        verdicts = estimate(layers, pace.rates)
        # A small network may run faster than rates of larger layers say; no level may then cost less than nothing.
        modelled = sum(dense_us(layer, pace.rates) for layer in layers.layers) / 1e3
        scale = min(1.0, dense / modelled) if modelled > 0.0 else 1.0
        level_ms = []
        for level, verdict in enumerate(verdicts):
            prices = Prices.at(layers.nodes, layers.layers, layers.coded, level, pace.rates)
            level_ms.append(dense + scale * prices.difference_us(verdict.choice) / 1e3)
    told = tuple(
        _layer(layer, layers, [verdict.choice for verdict in verdicts], pace.rates) for layer in layers.layers
    )
    return Forecast(tuple(level_ms), told, pace.basis, pace.here)


def forecast_dense(graph: CanonicalGraph, profile: DeviceProfile) -> Forecast:
    """Forecast `ort-switch` and `ort-levels`: dense kernels, without the channels that are zero at a level."""
    pace, layers = pace_of(profile), layer_set_of(graph)
    dense = dense_ms(graph, profile, pace, layers)
    level_ms = []
    for level in range(len(graph.ladder)):
        found = dense
        if pace.here and level < layers.count - 1 and layers.smaller_when_dense(level):
            smaller = timed_ms(layers.dense(level, keep_dead=False), graph, profile)
            found = dense if smaller is None else min(dense, smaller)
        level_ms.append(found)
    return Forecast(tuple(level_ms), (), pace.basis, pace.here)


def pace_of(profile: DeviceProfile) -> Pace:
    """Return the rates of a device: timed, where it is of this machine's kind, else the usual ones of its kind."""
    arch = profile.hardware.arch
    if is_here(profile):
        return Pace(rates_here(arch, profile.runtime.threads), True, _HERE)
    return Pace(RATES[arch], False, _USUAL.format(arch=arch))


def _layer(layer: Layer, layers: LayerSet, choices: Sequence[frozenset[int]], rates: Rates) -> LayerForecast:
    coded = layers.coded.get(layer.position)
    dense = dense_us(layer, rates) / 1e3
    at = [nested_us(layer, coded, level, rates) / 1e3 for level in range(layers.count)]
    used = tuple(
        nested if layer.position in choice else dense for nested, choice in zip(at, choices, strict=True)
    )
    return LayerForecast(
        _weight_of(layer, layers), dense, used, _break_even(layer, at, dense) if coded is not None else None
    )


def _weight_of(layer: Layer, layers: LayerSet) -> str:
    """Return the name of the weight that a layer multiplies with, through what only moves its numbers about."""
    node = next((node for node in layers.graph.model.graph if node.name == layer.name), None)
    value = node.inputs[1] if node is not None and len(node.inputs) > 1 else None
    while value is not None:
        name = value.name or ""
        if name.endswith(MASKED):
            return name.removesuffix(MASKED)
        node = value.producer()
        value = node.inputs[0] if node is not None and node.inputs else None
    return layer.name


def _break_even(layer: Layer, at_ms: Sequence[float], dense_ms: float) -> float | None:
    """Return the share of zeros at which the line through two levels' times meets the dense kernel's time."""
    densities = [layer.density(level) for level in range(len(at_ms))]
    span = densities[-1] - densities[0]
    if span <= 0.0:
        return None
    slope = (at_ms[-1] - at_ms[0]) / span
    if slope <= 0.0:
        return None
    density = densities[0] + (dense_ms - at_ms[0]) / slope
    return float(np.clip(1.0 - density, 0.0, 1.0)) if density > 0.0 else None


def dense_ms(graph: CanonicalGraph, profile: DeviceProfile, pace: Pace, layers: LayerSet) -> float:
    """Return what the dense network takes."""
    timed = timed_ms(layers.dense(layers.count - 1, keep_dead=True), graph, profile) if pace.here else None
    if timed is not None:
        return timed
    return sum(dense_us(layer, pace.rates) for layer in layers.layers) / 1e3 + others_ms(layers, pace.rates)


def others_ms(layers: LayerSet, rates: Rates) -> float:
    """Return what the other nodes take: they write their outputs once, beside being called."""
    known = {p for layer in layers.layers for p in (layer.position, *layer.absorbed)}
    others = [node for position, node in enumerate(layers.nodes) if position not in known]
    written = 0
    for node in others:
        for value in node.outputs:
            if value.shape is not None:
                written += int(np.prod([size if isinstance(size, int) else 1 for size in value.shape]))
    return (4.0 * written / rates.memory_gbps / 1e3 + rates.node_us * len(others)) / 1e3


def timed_ms(model: ir.Model, graph: CanonicalGraph, profile: DeviceProfile) -> float | None:
    """Return the time of a plain network on made-up inputs; None where it does not run on them."""
    with scratch_folder() as temporary:
        file = Path(temporary, "network.onnx")
        write_bytes(file, ir.to_proto(model).SerializeToString())
        feed = made_inputs(graph, 1)
        try:
            session = open_session(file, options_for(profile.runtime))
            session.run(None, feed)
        except (RuntimeError, ValueError, MemoryError):
            return None
        return time_ms(lambda: session.run(None, feed), profile.runtime)


def made_inputs(graph: CanonicalGraph, batch: int) -> Mapping[str, Array]:
    """Return made-up inputs of so many samples."""
    sizes = graph.provenance.get("export", {}).get("sizes", {})
    return made(graph.inputs, batch, sizes=sizes if isinstance(sizes, dict) else {})
