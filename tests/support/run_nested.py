"""Run an ort-nested model at every level and save what it answers: `run_nested.py MODEL LIBRARY INPUTS.npz OUT.npz`."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import onnxruntime as ort

model, library, inputs, output = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 4
options.register_custom_ops_library(library)
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
with np.load(inputs) as given:
    levels = int(given["levels"])
    feed = {name: given[name] for name in given.files if name != "levels"}
names = [entry.name for entry in session.get_outputs()]
answers = {}
for level in range(levels):
    for name, array in zip(
        names, session.run(names, {**feed, "level": np.array(level, np.int64)}), strict=True
    ):
        answers[f"{level}/{name}"] = array
np.savez(output, **answers)
kernels = ctypes.CDLL(library)
told = []
for name in ("elsa_kernels_isa", "elsa_kernels8_isa", "elsa_kernels16_isa"):
    function = getattr(kernels, name)
    function.restype = ctypes.c_char_p
    told.append(function().decode())
print(*told, ort.__version__)  # noqa: T201 - the caller reads it
