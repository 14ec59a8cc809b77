"""Single layers against the machine: GFLOP/s on nonzeros beside the multiply-add peak and the memory's bandwidth."""

from __future__ import annotations

import ctypes
import time
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.common import Row, interleaved
from elsa_edge.nested_format.activations import Activation
from elsa_edge.nested_format.library import library_path
from elsa_edge.nested_format.operators import CONV, DOMAIN, Window, channel_attributes, finish_attributes
from elsa_edge.nested_format.planes import Planes
from elsa_edge.nested_format.segments import encode

__all__ = ["layer_rows"]

_LAYERS: Final = (  # channels, side of the image, side of the kernel
    (64, 56, 3),
    (128, 28, 3),
    (256, 14, 3),
    (512, 7, 3),
    (256, 14, 1),
    (128, 28, 1),
)
_DENSITY: Final = 0.1

Array = npt.NDArray[Any]


def _peak_gflops() -> float:
    """Return the measured multiply-add peak of one thread."""
    library = ctypes.CDLL(str(library_path()))
    library.elsa_burst.restype, library.elsa_burst.argtypes = (
        ctypes.c_float,
        [ctypes.c_int64, ctypes.c_void_p],
    )
    lanes = ctypes.c_int32()
    best = 0.0
    for _ in range(5):
        start = time.thread_time()
        library.elsa_burst(2_000_000, ctypes.byref(lanes))
        best = max(best, 2.0 * 12 * lanes.value * 2e6 / (time.thread_time() - start) / 1e9)
    return best


def _bandwidth_gbps() -> float:
    """Return what one thread reads from memory beyond the caches."""
    data = np.ones(64_000_000, np.float32)
    best = 0.0
    for _ in range(3):
        start = time.thread_time()
        data.sum()
        best = max(best, data.nbytes / (time.thread_time() - start) / 1e9)
    return best


def _layer_session(
    channels: int, side: int, kernel: int, density: float, block_rows: int
) -> tuple[Any, dict[str, Array], int]:
    """Return a session of one NestedConv, its feed, and the multiply-adds on nonzeros."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    from elsa_edge.exporters.nested.layer import Geometry, Layer
    from elsa_edge.exporters.nested.store import column_block

    random = np.random.default_rng(0)
    gap, pad = kernel // 2, kernel // 2
    columns = channels * kernel * kernel
    active = np.repeat(random.random((channels // block_rows, columns)) < density, block_rows, axis=0)
    weight = random.standard_normal(active.shape).astype(np.float32)
    size = (side, side)
    geometry = Geometry(size, size, channels, (kernel, kernel), (1, 1), (1, 1), (pad,) * 4, 1)
    table = np.ones((1, 2, channels), np.float32)
    index = np.where(active, 0, 255).astype(np.uint8)
    layer = Layer("layer", 0, 0, (), "conv", weight, index, table, Activation(), None, geometry)
    swept = column_block(layer, in_blocks=block_rows == 4)
    segment = encode(weight, active, block_rows=block_rows, column_block=swept)
    planes = Planes(side, side, gap)
    window = Window(planes, planes, (kernel, kernel), pads=(pad, pad)).attributes()
    finish = finish_attributes(Activation.clip(0.0, 6.0))
    attributes: dict[str, Any] = {**window, **channel_attributes(channels, channels, 1), **finish}
    node = helper.make_node(
        CONV, ["x", "level", "table", "", "segment"], ["all"], domain=DOMAIN, **attributes
    )
    # A small result: what leaves the session is new memory each time, which would cost more than the layer.
    small = helper.make_node("Slice", ["all", "zero", "one", "one"], ["y"])
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 1, planes.stride])]
    values.append(helper.make_tensor_value_info("level", TensorProto.INT64, []))
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(segment, "segment")]
    constants += [
        numpy_helper.from_array(np.array([n], np.int64), name) for n, name in ((0, "zero"), (1, "one"))
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    body = helper.make_graph([node, small], "layer", values, [output], constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.register_custom_ops_library(str(library_path()))
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed: dict[str, Array] = {
        "x": np.zeros((1, channels, 1, planes.stride), np.float32),
        "level": np.array(0, np.int64),
    }
    return session, feed, int(np.count_nonzero(active)) * side * side


def layer_rows(rounds: int) -> list[Row]:
    """Time each layer at 90 % zeros with single rows and with blocks of 4 rows; all layers take turns."""
    sessions = {}
    products = {}
    for layer in _LAYERS:
        for block_rows in (1, 4):
            key = f"{layer} {block_rows}"
            session, feed, products[key] = _layer_session(*layer, _DENSITY, block_rows)
            sessions[key] = partial(session.run, None, feed)
    peak, bandwidth = _peak_gflops(), _bandwidth_gbps()
    samples = interleaved(sessions, rounds=rounds)
    peak = max(peak, _peak_gflops())
    rows: list[Row] = []
    for channels, side, kernel in _LAYERS:
        for block_rows in (1, 4):
            key = f"{(channels, side, kernel)} {block_rows}"
            gflops, quiet = (2e-9 * products[key] / np.quantile(samples[key], q) for q in (0.5, 0.1))
            rows.append(
                {
                    "layer": f"{channels} channels {side}x{side} {kernel}x{kernel}",
                    "kernel": kernel,
                    "block_rows": block_rows,
                    "sparsity": 1 - _DENSITY,
                    "gflops": round(float(gflops), 1),
                    "quiet_gflops": round(float(quiet), 1),
                    "share_of_peak": round(float(gflops) / peak, 3),
                    "quiet_share_of_peak": round(float(quiet) / peak, 3),
                    "peak_gflops": round(peak, 1),
                    "memory_gbps": round(bandwidth, 1),
                }
            )
    return rows
