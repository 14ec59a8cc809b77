"""One engine in a process of its own, driven by lines of JSON: `python worker.py ENGINE THREADS`.

    {"load": NAME, "path": FILE, "input": FILE.npy, "options": {}}  ->  {"output": [...]}    first output, flattened
    {"run": NAME, "count": N}                                       ->  {"cpu_s": ..., "wall_s": ...}
    whatever fails                                                  ->  {"error": "..."}

It imports numpy and its engine and nothing of elsa-edge, so that it runs in the engine's own environment.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[], Any]


def _onnxruntime(path: str, x: Any, options: dict[str, Any], threads: int) -> Run:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    for key, value in {"session.intra_op.allow_spinning": "0", **options}.items():
        settings.add_session_config_entry(key, value)
    session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feed)[0]


def _openvino(path: str, x: Any, options: dict[str, Any], threads: int) -> Run:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",  # its default would be bfloat16 where the processor has it
        **options,
    }
    model = openvino.Core().read_model(path)
    model.reshape(list(x.shape))  # it is slower with a free batch
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: x})[0]


def _deepsparse(path: str, x: Any, options: dict[str, Any], threads: int) -> Run:
    import deepsparse

    engine = deepsparse.compile_model(path, batch_size=x.shape[0], num_cores=threads, **options)
    inputs = [np.ascontiguousarray(x)]
    return lambda: engine.run(inputs)[0]


def _ncnn(path: str, x: Any, options: dict[str, Any], threads: int) -> Run:
    """Open an ONNX file as ncnn's own converter translates it; `{"int8": true}` puts it in 8 bits (ncnn_int8.py)."""
    import ncnn
    import pnnx

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copyfile(path, folder / "net.onnx")
        shape = "inputshape=[" + ",".join(map(str, x.shape)) + "]"
        program = str(Path(pnnx.__file__).with_name("pnnx"))
        command = [program, "net.onnx", shape, *(["fp16=0"] if options.get("int8") else [])]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        matrix = ncnn.Mat(np.ascontiguousarray(x[0])).clone()  # it would read an array that is gone
        param, weights = folder / "net.ncnn.param", folder / "net.ncnn.bin"
        net = _ncnn_net(param, weights, threads)
        if options.get("int8"):
            own = importlib.import_module("ncnn_int8")  # lies beside this file
            largest = {}
            for layer, value in own.coded_layers(param.read_text()).items():
                extractor = net.create_extractor()
                extractor.input("in0", matrix)
                largest[layer] = float(np.abs(np.array(extractor.extract(value)[1])).max())
            text, data = own.quantise(param.read_text(), weights.read_bytes(), largest)
            param.write_text(text)
            weights.write_bytes(data)
            net = _ncnn_net(param, weights, threads)

    def run() -> Any:
        extractor = net.create_extractor()
        extractor.input("in0", matrix)
        return np.array(extractor.extract("out0")[1])

    return run


def _ncnn_net(param: Path, weights: Path, threads: int) -> Any:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise RuntimeError("ncnn cannot read what its converter wrote")
    return net


_ENGINES = {"onnxruntime": _onnxruntime, "openvino": _openvino, "deepsparse": _deepsparse, "ncnn": _ncnn}


def _answer(question: dict[str, Any], engine: str, threads: int, runs: dict[str, Run]) -> dict[str, Any]:
    if "load" in question:
        x = np.load(question["input"])
        run = _ENGINES[engine](question["path"], x, question["options"], threads)
        runs[question["load"]] = run
        return {"output": np.asarray(run()).ravel().tolist()}
    run = runs[question["run"]]
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(question["count"]):
        run()
    return {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}


def main() -> None:
    """Answer line by line until the input ends."""
    # Engines print greetings: the answers keep the real output, everything else goes to the errors.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    engine, threads = sys.argv[1], int(sys.argv[2])
    runs: dict[str, Run] = {}
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line), engine, threads, runs)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is an answer
            said = str(error).strip().splitlines() or [type(error).__name__]
            answer = {"error": said[0][:300]}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
