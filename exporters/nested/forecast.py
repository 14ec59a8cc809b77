"""How long inferences of the ONNX Runtime variants will take, before anything is built.

    dense network      timed here where the device is of this machine's kind; else the sum over layers at usual rates
    nested level       dense network + what the chosen layers cost beside their dense kernels (price.py), scaled
                       down where the model says more of the dense layers than the whole network took
    8-bit network      timed here with made-up ranges (they change no time); else a usual share of the float one
    nested in 8 bits   rest + (SLOWNESS * share of fours with any weight) of the 8-bit network's products

No trained weight is needed: random ones take the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import ElsaError
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.exporters.nested.choose import estimate
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.layer_set import LayerSet, layer_set_of
from elsa_edge.exporters.nested.pace import rates_here, time_ms
from elsa_edge.exporters.nested.price import RATES, Prices, Rates, dense_us, nested_us
from elsa_edge.exporters.ort.smaller import is_here
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.flops import multiply_adds
from elsa_edge.graph.names import MASKED
from elsa_edge.plugins import Forecast, LayerForecast
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.proof.making import made
from elsa_edge.running.onnx_session import open_session, options_for

__all__ = ["forecast_dense", "forecast_dense8", "forecast_nested", "forecast_nested8"]

_HERE: Final = (
    "the dense network and this processor's rates were timed here; sparse levels follow from the cost model"
)
_USUAL: Final = (
    "usual rates of {arch}, nothing was timed on the device: expect the right order, and a factor of two"
)
# Time of ONNX Runtime's 8-bit network over its float one where it cannot be timed.
_INT8_SHARE: Final = {"x86-64": 0.6, "aarch64": 0.5}
# An active multiply-add of the nested 8-bit kernels over one of the dense 8-bit kernels, and what is not products
# (docs/int8.md: three networks, AVX2).
_SLOWNESS_8: Final = 3.3
_REST_8: Final = 0.05
_TOGETHER: Final = 4
_CALIBRATION_SAMPLES: Final = 2

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Pace:
    """Rates of the device, and where they come from."""

    rates: Rates
    here: bool
    basis: str


def forecast_nested(graph: CanonicalGraph, profile: DeviceProfile, *, int8: bool = False) -> Forecast:
    """Forecast `ort-nested`."""
    pace, layers = _pace(profile), layer_set_of(graph, int8=int8)
    dense = _dense_ms(graph, profile, pace, layers)
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
    pace, layers = _pace(profile), layer_set_of(graph)
    dense = _dense_ms(graph, profile, pace, layers)
    level_ms = []
    for level in range(len(graph.ladder)):
        found = dense
        if pace.here and level < layers.count - 1 and layers.smaller_when_dense(level):
            smaller = _timed_ms(layers.dense(level, keep_dead=False), graph, profile)
            found = dense if smaller is None else min(dense, smaller)
        level_ms.append(found)
    return Forecast(tuple(level_ms), (), pace.basis, pace.here)


def forecast_dense8(graph: CanonicalGraph, profile: DeviceProfile) -> Forecast:
    """Forecast `ort-int8`: the same time at every level."""
    pace = _pace(profile)
    return Forecast((_dense8_ms(graph, profile, pace),) * len(graph.ladder), (), pace.basis, pace.here)


def forecast_nested8(graph: CanonicalGraph, profile: DeviceProfile) -> Forecast:
    """Forecast `nested-int8`: a level whose nested kernels are not faster runs the dense 8-bit network."""
    pace = _pace(profile)
    dense8_ms = _dense8_ms(graph, profile, pace)
    shares = [_REST_8 + _SLOWNESS_8 * share for share in _work_in_fours(graph)]
    return Forecast(tuple(dense8_ms * min(1.0, share) for share in shares), (), pace.basis, pace.here)


def _work_in_fours(graph: CanonicalGraph) -> list[float]:
    """Return each level's share of the work when four input channels are multiplied together or not at all.

    Single zeros then save little: at 10 % of the weights, spread by chance, a third of the fours hold one.
    """
    total, works = multiply_adds(graph)
    shares = np.zeros(len(graph.ladder))
    for name, work in works.items():
        index = graph.index(name)
        fours = index
        if index.ndim > 1 and index.shape[1] % _TOGETHER == 0:
            fours = index.reshape(index.shape[0], -1, _TOGETHER, *index.shape[2:]).min(axis=2)
        shares += work * np.array([np.mean(fours <= level) for level in range(len(graph.ladder))])
    rest = max(0.0, total - sum(works.values()))
    return [float((share + rest) / max(total, 1.0)) for share in shares]


def _pace(profile: DeviceProfile) -> _Pace:
    arch = profile.hardware.arch
    if is_here(profile):
        return _Pace(rates_here(arch, profile.runtime.threads), True, _HERE)
    return _Pace(RATES[arch], False, _USUAL.format(arch=arch))


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


def _dense_ms(graph: CanonicalGraph, profile: DeviceProfile, pace: _Pace, layers: LayerSet) -> float:
    timed = _timed_ms(layers.dense(layers.count - 1, keep_dead=True), graph, profile) if pace.here else None
    if timed is not None:
        return timed
    return sum(dense_us(layer, pace.rates) for layer in layers.layers) / 1e3 + _others_ms(layers, pace.rates)


def _others_ms(layers: LayerSet, rates: Rates) -> float:
    """Return what the other nodes take: they write their outputs once, beside being called."""
    known = {p for layer in layers.layers for p in (layer.position, *layer.absorbed)}
    others = [node for position, node in enumerate(layers.nodes) if position not in known]
    written = 0
    for node in others:
        for value in node.outputs:
            if value.shape is not None:
                written += int(np.prod([size if isinstance(size, int) else 1 for size in value.shape]))
    return (4.0 * written / rates.memory_gbps / 1e3 + rates.node_us * len(others)) / 1e3


def _dense8_ms(graph: CanonicalGraph, profile: DeviceProfile, pace: _Pace) -> float:
    level = len(graph.ladder) - 1
    if pace.here:
        try:
            model = dense8(graph, level, _inputs(graph, _CALIBRATION_SAMPLES), profile)
        except ElsaError:
            model = None
        timed = None if model is None else _timed_ms(model, graph, profile)
        if timed is not None:
            return timed
    return _dense_ms(graph, profile, pace, layer_set_of(graph)) * _INT8_SHARE[profile.hardware.arch]


def _timed_ms(model: ir.Model, graph: CanonicalGraph, profile: DeviceProfile) -> float | None:
    """Return the time of a plain network on made-up inputs; None where it does not run on them."""
    with scratch_folder() as temporary:
        file = Path(temporary, "network.onnx")
        write_bytes(file, ir.to_proto(model).SerializeToString())
        feed = _inputs(graph, 1)
        try:
            session = open_session(file, options_for(profile.runtime))
            session.run(None, feed)
        except (RuntimeError, ValueError, MemoryError):
            return None
        return time_ms(lambda: session.run(None, feed), profile.runtime)


def _inputs(graph: CanonicalGraph, batch: int) -> Mapping[str, Array]:
    sizes = graph.provenance.get("export", {}).get("sizes", {})
    return made(graph.inputs, batch, sizes=sizes if isinstance(sizes, dict) else {})
