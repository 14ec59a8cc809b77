"""How fast this machine is: the rates of the cost model, from small networks timed here in about two seconds.

    rate = difference of work / difference of time,   between the level with 10 % and the one with 40 % of the weights

A difference leaves out what every call costs. Dense rates come from the densest level, which is ONNX Runtime's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from elsa_edge.exporters.nested.layer_set import DENSE, LayerSet, layer_set_of
from elsa_edge.exporters.nested.price import RATES, Rates
from elsa_edge.exporters.nested.write import write, write_dense
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.nested_format.library import library_path
from elsa_edge.onnx_levels import nest_onnx
from elsa_edge.profiles.schema import Runtime
from elsa_edge.running.onnx_session import open_session, options_for

__all__ = ["rates_here", "time_ms"]

_LEVELS: Final = (0.9, 0.6, 0.0)
_RUNS: Final = 25
_SECONDS: Final = 0.25

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Times:
    """Milliseconds of a small network: of its two nested levels, and of the dense one."""

    layers: LayerSet
    sparse_ms: tuple[float, float]
    dense_ms: float

    def nested_gflops(self) -> float:
        """Return the rate of nested kernels."""
        work = [sum(coded.work[level] for coded in self.layers.coded.values()) for level in (0, 1)]
        pixels = self.layers.layers[0].pixels
        return 2.0 * (work[1] - work[0]) * pixels / max(self.sparse_ms[1] - self.sparse_ms[0], 1e-3) / 1e6

    def dense_gflops(self) -> float:
        """Return the rate of ONNX Runtime's kernels."""
        flops = sum(2.0 * layer.weight.size * layer.pixels for layer in self.layers.layers)
        return flops / self.dense_ms / 1e6


def time_ms(run: Callable[[], object], runtime: Runtime, *, runs: int = _RUNS, seconds: float = 2.0) -> float:
    """Return the median time of a call: CPU time of the thread where there is one, else the clock on the wall."""
    clock = time.thread_time if runtime.threads == 1 else time.perf_counter
    run()
    run()
    found: list[float] = []
    began = time.perf_counter()
    while len(found) < runs and (len(found) < 3 or time.perf_counter() - began < seconds):
        before = clock()
        run()
        found.append(clock() - before)
    return float(np.median(found)) * 1e3


@cache
def rates_here(arch: str, threads: int) -> Rates:
    """Return the rates of this machine, measured once a process.

    Args:
        arch: Kind of processor, for what is not measured.
        threads: Of the device profile.
    """
    runtime = Runtime(threads=threads)
    same = {"pads": [1, 1, 1, 1]}
    image = _time(runtime, "Conv", (1, 64, 28, 28), [(64, 64, 3, 3)] * 2, **same)
    depth = _time(runtime, "Conv", (1, 64, 56, 56), [(64, 1, 3, 3)], group=64, **same)
    vector = _time(runtime, "MatMul", (1, 1024), [(1024, 1024)] * 2)
    product = _time(runtime, "MatMul", (64, 512), [(512, 512)] * 2)
    usual = RATES[arch]
    bytes_read = sum(layer.weight.nbytes for layer in vector.layers.layers)
    return Rates(
        dense_gflops=image.dense_gflops(),
        dense_depthwise_gflops=depth.dense_gflops(),
        nested_gflops=image.nested_gflops(),
        depthwise_gflops=usual.depthwise_gflops * depth.dense_gflops() / usual.dense_depthwise_gflops,
        memory_gbps=bytes_read / vector.dense_ms / 1e6,
        gather_gflops=vector.nested_gflops(),
        product_gflops=product.nested_gflops(),
        node_us=usual.node_us,
    )


def _time(
    runtime: Runtime,
    operator: str,
    shape: Sequence[int],
    weights: Sequence[Sequence[int]],
    **attributes: Any,
) -> _Times:
    """Time a chain of equal layers at two nested levels and dense."""
    content, sample = _chain(operator, attributes, shape, weights)
    with scratch_folder() as temporary:
        folder = Path(temporary)
        write_bytes(folder / "chain.onnx", content)
        graph, _ = nest_onnx(folder / "chain.onnx", _LEVELS, prove=False)
        layers = layer_set_of(graph)
        write_dense(layers, folder / "dense.onnx", layers.count - 1)
        write(layers, folder, [layers.every, layers.every, DENSE])
        dense = open_session(folder / "dense.onnx", options_for(runtime))
        library = library_path()
        nested = open_session(
            folder / "model.onnx", options_for(runtime, libraries=() if library is None else (library,))
        )

        def at(level: int) -> float:
            feed: Mapping[str, Array] = {"v0": sample, LEVEL_INPUT: np.array(level, np.int64)}
            return time_ms(lambda: nested.run(None, feed), runtime, seconds=_SECONDS)

        return _Times(
            layers,
            (at(0), at(1)),
            time_ms(lambda: dense.run(None, {"v0": sample}), runtime, seconds=_SECONDS),
        )


def _chain(
    operator: str,
    attributes: Mapping[str, Any],
    shape: Sequence[int],
    weights: Sequence[Sequence[int]],
) -> tuple[bytes, Array]:
    """Return an ONNX file of equal layers one after the other, and an input for it."""
    generator = np.random.default_rng(0)
    nodes = [
        helper.make_node(operator, [f"v{number}", f"w{number}"], [f"v{number + 1}"], **attributes)
        for number in range(len(weights))
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("v0", f"v{len(weights)}")
    ]
    arrays = [
        numpy_helper.from_array(generator.standard_normal(tuple(size), np.float32), f"w{number}")
        for number, size in enumerate(weights)
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], arrays)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    return model.SerializeToString(), generator.standard_normal(tuple(shape), np.float32)
