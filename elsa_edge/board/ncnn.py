"""ncnn, where its Python package is installed: the dense float32 network as its own converter made it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["installed", "open_ncnn"]


def installed() -> bool:
    """Whether ncnn can be imported."""
    return importlib.util.find_spec("ncnn") is not None


def open_ncnn(folder: Path, x: npt.NDArray[np.float32], threads: int) -> Callable[[], npt.NDArray[Any]]:
    """Load a network and return what runs it on one sample.

    Args:
        folder: With `net.param` and `net.bin`.
        x: Its only input, `(1, ...)`.
        threads: Threads that it may use.
    """
    ncnn: Any = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.load_param(str(folder / "net.param"))
    net.load_model(str(folder / "net.bin"))
    matrix = ncnn.Mat(np.ascontiguousarray(x[0]))

    def run() -> npt.NDArray[Any]:
        extractor = net.create_extractor()
        extractor.input("in0", matrix)
        return np.array(extractor.extract("out0")[1])

    return run
