"""Latency of nested sparse kernels against dense and sparse engines: `python -m benchmarks.latency [--quick]`.

One file of `ort-nested` holds all levels of a network; each level is timed against the plain dense network in ONNX
Runtime with all its optimisations, interleaved in one process, on one thread. Peers that are not installed are
reported as absent, not left out: OpenVINO and DeepSparse are for evaluation only and live in environments of their own.
ELSA_LATENCY_NETS=resnet18,mlp restricts the networks; ELSA_LATENCY_GRANULARITIES=unstructured,block the patterns.
"""

from __future__ import annotations

import csv
import ctypes
import importlib.util
import io
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.common import (
    RESULTS,
    Claim,
    Result,
    Row,
    at_least,
    at_most,
    benchmark,
    interleaved,
    median_ms,
    ratio,
)
from benchmarks.latency_nets import LATENCY_NETS
from benchmarks.nets import profile_for
from elsa_edge.bundle.golden import Golden
from elsa_edge.files import write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.tensors import TensorSpec
from exporters.ort_nested import OrtNestedExporter
from runtime_adapters.kernels import DOMAIN, library_path
from runtime_adapters.kernels.segments import encode

LADDER: Final = (0.98, 0.95, 0.9, 0.8, 0.7, 0.5, 0.0)
# network family, granularity -> speed-up over dense at 80, 90, 95 % (the table of issue 5)
TARGETS: Final = {
    ("resnet18", "unstructured"): (1.4, 2.4, 4.0),
    ("resnet50", "unstructured"): (1.4, 2.4, 4.0),
    ("resnet18", "block"): (2.7, 4.5, 6.5),
    ("resnet50", "block"): (2.7, 4.5, 6.5),
    ("mobilenet_v2", "unstructured"): (1.2, 1.8, 2.3),
    ("efficientnet_lite0", "unstructured"): (1.2, 1.8, 2.3),
    ("mobilenet_v2", "block"): (1.5, 2.2, 2.6),
    ("efficientnet_lite0", "block"): (1.5, 2.2, 2.6),
    ("mlp", "unstructured"): (2.0, 4.0, 7.0),
}
_PEERS: Final = ("openvino", "deepsparse", "ai_edge_litert")

Array = npt.NDArray[Any]


def _session(path: Path, threads: int = 1) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.register_custom_ops_library(str(library_path()))
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _canonical(name: str, granularity: str) -> CanonicalGraph:
    """Give every weight but the first convolution's and the depthwise ones the same density at each level."""
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.sparsify import sparsify

    net = LATENCY_NETS[name]
    model = net.factory()
    weights = [(key, value) for key, value in model.named_parameters() if value.dim() >= 2]
    dense = [key for key, value in weights if value.dim() == 4 and value.shape[1] == 1]
    dense += [weights[0][0]] if weights[0][1].dim() == 4 else []
    checkpoint = sparsify(model, LADDER, allocation="uniform", granularity=granularity, exclude=dense)
    return export_canonical(checkpoint, model, [TensorSpec("input", net.input_shape)])


def _int8(dense: Path, inputs: dict[str, Array], folder: Path) -> Path | None:
    """Quantise the dense network as ONNX Runtime's own tools do (uint8 activations, int8 weights a channel)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped base
        def __init__(self) -> None:
            self._left = [inputs]

        def get_next(self) -> dict[str, Array] | None:
            return self._left.pop() if self._left else None

    target = folder / "int8.onnx"
    try:
        quantize_static(
            str(dense), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - a peer that fails is reported, whatever it raises
        print(f"int8 of ONNX Runtime failed: {error}")
        return None
    return target


def _measure(name: str, granularity: str, rounds: int, folder: Path) -> list[Row]:
    """Return a row for each engine and level of one network."""
    import onnx_ir as ir

    graph = _canonical(name, granularity)
    random = np.random.default_rng(0)
    inputs: dict[str, Array] = {
        "input": random.standard_normal(LATENCY_NETS[name].input_shape).astype(np.float32)
    }
    golden = Golden(inputs, ())
    folder.mkdir()
    dense = folder / "dense.onnx"
    dense.write_bytes(ir.to_proto(at_level(graph, len(LADDER) - 1)).SerializeToString())
    runs: dict[tuple[str, int], Callable[[], object]] = {}

    def add(engine: str, path: Path, levels: range | None, threads: int = 1) -> None:
        session = _session(path, threads)
        for level in levels if levels is not None else (len(LADDER) - 1,):
            feed = inputs if levels is None else {**inputs, "level": np.array(level, np.int64)}
            runs[engine, level] = partial(session.run, None, feed)

    add("ort-dense", dense, None)
    for int8 in (False, True):
        exporter = OrtNestedExporter(int8=int8)
        target = folder / exporter.name
        target.mkdir()
        exporter.export(graph, profile_for("ort-nested"), golden, target)
        add(exporter.name, target / "model.onnx", range(len(LADDER)))
    quantised = _int8(dense, inputs, folder)
    if quantised is not None:
        add("ort-int8", quantised, None)
    samples = interleaved({f"{engine}@{level}": run for (engine, level), run in runs.items()}, rounds=rounds)
    base = samples[f"ort-dense@{len(LADDER) - 1}"]
    rows: list[Row] = []
    for engine, level in runs:
        times = samples[f"{engine}@{level}"]
        rows.append({
            "network": name, "granularity": granularity, "engine": engine, "sparsity": LADDER[level], "threads": 1,
            "median_ms": round(median_ms(times), 4), "speedup": round(1 / ratio(times, base).value, 3),
            **ratio(times, base).row(),
        })  # fmt: skip
    rows.append(
        _switching(folder / "ort-nested" / "model.onnx", inputs, rounds)
        | {"network": name, "granularity": granularity}
    )
    return rows


def _switching(path: Path, inputs: dict[str, Array], rounds: int) -> Row:
    """Time alternating levels against the mean of staying at each."""
    session = _session(path)
    feeds = [{**inputs, "level": np.array(level, np.int64)} for level in (1, 2)]

    def stay() -> None:
        for feed in feeds:
            for _ in range(2):
                session.run(None, feed)

    def alternate() -> None:
        for _ in range(2):
            for feed in feeds:
                session.run(None, feed)

    samples = interleaved({"stay": stay, "alternate": alternate}, rounds=rounds)
    return {"engine": "switch of level", **ratio(samples["alternate"], samples["stay"]).row()}


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

    from exporters.ort_nested.layers import Activation, Geometry, Layer
    from exporters.ort_nested.planes import Planes, stride_floats
    from exporters.ort_nested.segments import column_block

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
    segment = encode(weight, active, block_rows=block_rows, column_block=column_block(layer))
    floats = stride_floats(Planes(side, side, gap))
    attributes: dict[str, Any] = {
        "in_h": side, "in_w": side, "in_gap": gap, "out_h": side, "out_w": side, "out_gap": gap, "kernel_h": kernel,
        "kernel_w": kernel, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "pad_top": pad,
        "pad_left": pad,
        "in_channels": channels, "out_channels": channels, "groups": 1, "activation": 1, "low": 0.0, "high": 6.0,
    }  # fmt: skip
    node = helper.make_node(
        "NestedConv", ["x", "level", "table", "", "segment"], ["all"], domain=DOMAIN, **attributes
    )
    # A small result: what leaves the session is new memory each time, which would cost more than the layer.
    small = helper.make_node("Slice", ["all", "zero", "one", "one"], ["y"])
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 1, floats])]
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
        "x": np.zeros((1, channels, 1, floats), np.float32),
        "level": np.array(0, np.int64),
    }
    return session, feed, int(np.count_nonzero(active)) * side * side


def _roofline(rounds: int) -> tuple[list[Row], list[Claim]]:
    """Return GFLOP/s on nonzeros of single layers at 90 %, against the machine's peak and bandwidth."""
    peak, bandwidth = _peak_gflops(), _bandwidth_gbps()
    rows: list[Row] = []
    shares = []
    for channels, side, kernel in (
        (64, 56, 3),
        (128, 28, 3),
        (256, 14, 3),
        (512, 7, 3),
        (256, 14, 1),
        (128, 28, 1),
    ):
        for block_rows in (1, 4):
            session, feed, products = _layer_session(channels, side, kernel, 0.1, block_rows)
            times = interleaved({"layer": partial(session.run, None, feed)}, rounds=rounds)["layer"]
            gflops = 2.0 * products / float(np.median(times)) / 1e9
            rows.append({
                "layer": f"{channels} channels {side}x{side} {kernel}x{kernel}", "block_rows": block_rows,
                "sparsity": 0.9,
                "gflops": round(gflops, 1), "share_of_peak": round(gflops / peak, 3), "peak_gflops": round(peak, 1),
                "memory_gbps": round(bandwidth, 1),
            })  # fmt: skip
            if kernel == 3 and block_rows == 1:
                shares.append(gflops / peak)
    claim = at_least(
        "3x3 kernels at 90 %, unstructured: share of the multiply-add peak on nonzeros (mean)",
        0.35,
        float(np.mean(shares)),
    )
    return rows, [claim]


def _claims(rows: list[Row]) -> list[Claim]:
    speed = {
        (r["network"], r["granularity"], r["engine"], r["sparsity"]): r["speedup"]
        for r in rows
        if "speedup" in r
    }
    claims = []
    for (network, granularity), targets in TARGETS.items():
        for sparsity, target in zip((0.8, 0.9, 0.95), targets, strict=True):
            found = speed.get((network, granularity, "ort-nested", sparsity))
            if found is not None:
                claims.append(
                    at_least(f"{network}, {granularity}, {sparsity:.0%}: speed-up over dense", target, found)
                )
    ours = [value for key, value in speed.items() if key[2] == "ort-nested"]
    claims.append(at_least("no level of any network below dense", 0.97, min(ours)))
    for (network, granularity, engine, sparsity), value in speed.items():
        if engine == "ort-int8" and sparsity == 0.0 and network in ("resnet18", "resnet50", "mlp"):
            best = max(speed[network, granularity, e, 0.95] for e in ("ort-nested", "ort-nested-int8"))
            claims.append(at_least(f"{network}, {granularity}: 95 % against dense int8", 1.0, best / value))
    switches = [r["ratio"] for r in rows if r.get("engine") == "switch of level"]
    claims.append(at_most("a switch of level in every inference", 1.02, float(np.median(switches))))
    return claims


def _write_csv_and_plot(rows: list[Row]) -> None:
    """Write results/latency.csv, and a plot a network where matplotlib is installed."""
    timed = [row for row in rows if "median_ms" in row]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(timed[0]))
    writer.writeheader()
    writer.writerows(timed)
    write_bytes(RESULTS / "latency.csv", text.getvalue().encode())
    if importlib.util.find_spec("matplotlib") is None:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    nets = sorted({(row["network"], row["granularity"]) for row in timed})
    figure, axes = plt.subplots(1, len(nets), figsize=(4 * len(nets), 3.5), squeeze=False)
    for axis, (network, granularity) in zip(axes[0], nets, strict=True):
        for engine in sorted({row["engine"] for row in timed}):
            points = sorted(
                (1 - row["sparsity"], row["median_ms"])
                for row in timed
                if (row["network"], row["granularity"], row["engine"]) == (network, granularity, engine)
            )
            if len(points) == 1:
                axis.axhline(points[0][1], linestyle="--", label=engine)
            elif points:
                axis.plot(*zip(*points, strict=True), marker="o", label=engine)
        axis.set(title=f"{network}, {granularity}", xlabel="density", ylabel="ms", ylim=(0, None))
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(RESULTS / "latency.png", dpi=110)


@benchmark("latency")
def main(quick: bool) -> Result:
    """Latency of every level against dense and quantised engines, switching, and a roofline of single layers."""
    named = os.environ.get("ELSA_LATENCY_NETS")
    nets = named.split(",") if named else (["mlp"] if quick else list(LATENCY_NETS))
    granularities = os.environ.get(
        "ELSA_LATENCY_GRANULARITIES", "unstructured" if quick else "unstructured,block"
    ).split(",")
    rounds = 7 if quick else 21
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in nets:
            for granularity in granularities:
                rows += _measure(name, granularity, rounds, Path(temporary, f"{name}-{granularity}"))
    layers, claims = _roofline(rounds)
    absent = [
        {"engine": peer, "note": "not measured: not installed here"}
        for peer in _PEERS
        if importlib.util.find_spec(peer) is None
    ]
    claims = _claims(rows) + claims
    if not quick:
        _write_csv_and_plot(rows)
    return Result(rows=[*rows, *layers, *absent], claims=claims)


if __name__ == "__main__":
    main()
