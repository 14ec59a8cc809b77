"""How long inferences of the 8-bit variants will take, before anything is built.

                   device of this machine's kind               another device
    dense network  timed here                                  a usual share of the float network
    nested level   dense * the ratio of both, timed in turns   dense * (what stays dense + SLOWNESS * fours with any
                   as `build` decides (choose.py)              weight), each layer weighted by its dense time

Ranges and weights are made up: they change no time. A level whose nested kernels are not faster runs the dense network.
Layers that nested kernels compute densely (depthwise ones) and operators between layers cost what they cost there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from elsa_edge.errors import ElsaError
from elsa_edge.exporters.int8.candidates import SLOWNESS, Mix, active_fours
from elsa_edge.exporters.int8.choose import by_timing
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.exporters.int8.write import write8
from elsa_edge.exporters.nested.forecast import Pace, dense_ms, made_inputs, others_ms, pace_of, timed_ms
from elsa_edge.exporters.nested.layer_set import layer_set_of
from elsa_edge.exporters.nested.price import Rates, dense_us
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.plugins import Forecast
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["forecast_dense8", "forecast_nested8", "nested_shares"]

# Time of ONNX Runtime's 8-bit network over its float one where it cannot be timed.
_INT8_SHARE: Final = {"x86-64": 0.6, "aarch64": 0.5}
# Of the dense 8-bit network's time, what is not products (docs/int8.md: three networks, AVX2).
_REST: Final = 0.05
_CALIBRATION_SAMPLES: Final = 2
_SECONDS: Final = 6.0


def forecast_dense8(graph: CanonicalGraph, profile: DeviceProfile) -> Forecast:
    """Forecast `ort-int8`: the same time at every level."""
    pace = pace_of(profile)
    rival = _rival(graph, profile) if pace.here else None
    dense = _dense8_ms(graph, profile, pace, rival)
    return Forecast((dense,) * len(graph.ladder), (), pace.basis, pace.here)


def forecast_nested8(graph: CanonicalGraph, profile: DeviceProfile, *, trial: bool = True) -> Forecast:
    """Forecast `nested-int8`.

    Args:
        graph: The canonical graph.
        profile: The device.
        trial: Time the nested levels where the device is of this machine's kind; the cost model alone otherwise.
    """
    pace = pace_of(profile)
    rival = _rival(graph, profile) if pace.here else None
    dense = _dense8_ms(graph, profile, pace, rival)
    shares = _timed_shares(graph, profile, rival) if rival is not None and trial else None
    if shares is None:
        shares = nested_shares(graph, pace.rates)
    return Forecast(tuple(dense * min(1.0, share) for share in shares), (), pace.basis, pace.here)


def nested_shares(graph: CanonicalGraph, rates: Rates) -> list[float]:
    """Return the time of each level with nested kernels over the dense 8-bit network's, by the cost model."""
    layers = layer_set_of(graph)
    dense_ms = np.array([dense_us(layer, rates) / 1e3 for layer in layers.layers])
    whole = float(dense_ms.sum()) + others_ms(layers, rates)
    if whole <= 0.0:
        return [1.0] * layers.count
    found = []
    for level in range(layers.count):
        factors = [
            SLOWNESS * active_fours(layer, level) if layer.kind != "depthwise" else 1.0
            for layer in layers.layers
        ]
        found.append(_REST + 1.0 - float(dense_ms @ (1.0 - np.array(factors))) / whole)
    return found


def _timed_shares(graph: CanonicalGraph, profile: DeviceProfile, rival: ir.Model) -> list[float] | None:
    """Return the same, timed here in turns; None where the network cannot be put in nested 8 bits."""
    try:
        plan = Plan8(graph, made_inputs(graph, _CALIBRATION_SAMPLES))
    except ElsaError:
        return None
    if not plan.layers:
        return [1.0] * plan.count
    with scratch_folder() as temporary:
        folder = Path(temporary)
        dense, nested = folder / "dense.onnx", folder / "nested"
        nested.mkdir()
        write_bytes(dense, ir.to_proto(rival).SerializeToString())
        every = Mix(frozenset(plan.layers))
        write8(plan, [every] * plan.count, None, nested)
        watch = Stopwatch(made_inputs(graph, 1), profile.runtime, _SECONDS / plan.count)
        choices = by_timing(watch, dense, [nested / "model.onnx"], [[every]] * plan.count)
    return [choice.time_over_dense or 1.0 if choice.kind == "nested" else 1.0 for choice in choices]


def _rival(graph: CanonicalGraph, profile: DeviceProfile) -> ir.Model | None:
    """Return the dense 8-bit network with made-up ranges; None where ONNX Runtime's quantiser cannot do it."""
    try:
        return dense8(graph, len(graph.ladder) - 1, made_inputs(graph, _CALIBRATION_SAMPLES), profile)
    except ElsaError:
        return None


def _dense8_ms(graph: CanonicalGraph, profile: DeviceProfile, pace: Pace, rival: ir.Model | None) -> float:
    timed = None if rival is None else timed_ms(rival, graph, profile)
    if timed is not None:
        return timed
    return dense_ms(graph, profile, pace, layer_set_of(graph)) * _INT8_SHARE[profile.hardware.arch]
