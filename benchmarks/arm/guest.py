"""Runs on the emulated board: files of one network, each inference between two marks that the plugin counts by.

    guest.py JOBS.json INPUT.npy

A job is `{"kind": "onnx" | "tflite", "file", "library" (of custom operators, or ""), "levels" (or null)}`. The marks
of its inferences are 1, 2, 3 ... in the order of jobs and levels.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_MARK = 0x656C7361


def mark(number: int) -> None:
    """Tell the plugin, by a system call that is an error otherwise."""
    try:
        os.getpriority(_MARK + number, 0)
    except OSError:
        return


def of_onnx(job: dict[str, Any], x: np.ndarray[Any, Any]) -> Iterator[Callable[[], object]]:
    """Yield one inference a level."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if job["library"]:
        options.register_custom_ops_library(job["library"])
    session = ort.InferenceSession(job["file"], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for level in [None] if job["levels"] is None else range(job["levels"]):
        feed = {name: x} if level is None else {name: x, "level": np.array(level, np.int64)}
        yield lambda feed=feed: session.run(None, feed)  # type: ignore[misc]


def of_tflite(job: dict[str, Any], x: np.ndarray[Any, Any]) -> Iterator[Callable[[], object]]:
    """Yield one inference; images in the layout of the file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=job["file"], num_threads=1)
    interpreter.allocate_tensors()
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], last)
    yield interpreter.invoke


def main(jobs: str, inputs: str) -> None:
    """Run every job."""
    x = np.load(inputs)
    number = 0
    for job in json.loads(Path(jobs).read_text()):
        for run in (of_onnx if job["kind"] == "onnx" else of_tflite)(job, x):
            run()
            number += 1
            mark(0)
            run()
            mark(number)


if __name__ == "__main__":
    main(*sys.argv[1:])
