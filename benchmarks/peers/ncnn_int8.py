"""8 bits for ncnn, whose wheel carries no tools that quantise: rewrites the two files of a float network as they would.

    .param   `8=1` at each convolution and product: its weights are codes; `8=101` where the next layer reads codes, too
    .bin     codes of the weights (127 over the largest of a row), float biases, and the scales of weights and inputs

Pure numpy and no part of elsa-edge: it runs in ncnn's own environment, beside `worker.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["coded_layers", "quantise"]

_CODED = {  # type -> keys of its outputs, its bias and its number of weights
    "Convolution": ("0", "5", "6"),
    "ConvolutionDepthWise": ("0", "5", "6"),
    "InnerProduct": ("0", "1", "2"),
}
_WITHOUT_WEIGHTS = {
    "Input",
    "Split",
    "BinaryOp",
    "UnaryOp",
    "Pooling",
    "Reduction",
    "Reshape",
    "Flatten",
    "Permute",
    "Squeeze",
    "ReLU",
    "Clip",
    "HardSwish",
    "HardSigmoid",
    "Swish",
    "Sigmoid",
    "Softmax",
    "Concat",
    "Dropout",
    "Noop",
    "ExpandDims",
    "Crop",
    "Padding",
    "Interp",
    "GELU",
}
_CODE_TAG = 0x000D4B38
_REQUANTISED = 101


@dataclass
class _Layer:
    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[str, str]

    def line(self) -> str:
        """Return the layer as the file has it."""
        ends = [*map(str, (len(self.inputs), len(self.outputs))), *self.inputs, *self.outputs]
        return " ".join([self.kind, self.name, *ends, *(f"{k}={v}" for k, v in self.settings.items())])


def coded_layers(param: str) -> dict[str, str]:
    """Return the input of each layer that gets codes, by the layer's name.

    Raises:
        ValueError: At a layer of which it is not known whether it has weights.
    """
    return {layer.name: layer.inputs[0] for layer in _layers(param) if layer.kind in _CODED}


def quantise(param: str, weights: bytes, largest: Mapping[str, float]) -> tuple[str, bytes]:
    """Return the files of the same network in 8 bits.

    Args:
        param: The text of `.param`.
        weights: `.bin` with float32 weights.
        largest: The largest magnitude of each layer's input, by the layer's name.

    Raises:
        ValueError: At a layer of which it is not known whether it has weights, or weights that are not float32.
    """
    layers, reader, made = _layers(param), _reader(weights), list[bytes]()
    readers: dict[str, list[_Layer]] = {}
    for layer in layers:
        for value in layer.inputs:
            readers.setdefault(value, []).append(layer)
    scales = {name: np.float32(127 / max(value, 1e-6)) for name, value in largest.items()}
    for layer in layers:
        if layer.kind not in _CODED:
            continue
        outputs, bias, count = (layer.settings.get(key, "0") for key in _CODED[layer.kind])
        if reader(1, np.uint32)[0] != 0:
            raise ValueError(f"the weights of {layer.name} are not float32")
        rows = reader(int(count), np.float32).reshape(int(outputs), -1)
        biases = reader(int(outputs) if bias == "1" else 0, np.float32)
        steps = (127 / np.abs(rows).max(axis=1).clip(1e-6)).astype(np.float32)
        codes = np.rint(rows * steps[:, None]).astype(np.int8).tobytes()
        after = [reader_of for value in layer.outputs for reader_of in _through_splits(value, readers)]
        together = layer.kind != "InnerProduct" and after and all(one.kind in _CODED for one in after)
        layer.settings["8"] = str(_REQUANTISED if together else 1)
        made += [np.uint32(_CODE_TAG).tobytes(), codes + bytes(-len(codes) % 4), biases.tobytes()]
        made += [steps.tobytes(), scales[layer.name].tobytes()]
        if together:
            made.append(scales[after[0].name].tobytes())
    head = param.splitlines()[:2]
    return "\n".join([*head, *(layer.line() for layer in layers), ""]), b"".join(made)


def _through_splits(value: str, readers: Mapping[str, list[_Layer]]) -> list[_Layer]:
    """Return what reads a value, copies of it included."""
    found: list[_Layer] = []
    for layer in readers.get(value, []):
        found += (
            [one for copy in layer.outputs for one in _through_splits(copy, readers)]
            if layer.kind == "Split"
            else [layer]
        )
    return found


def _layers(param: str) -> list[_Layer]:
    layers = []
    for line in param.splitlines()[2:]:
        if not line.strip():
            continue
        kind, name, inputs, outputs, *rest = line.split()
        if kind not in _CODED and kind not in _WITHOUT_WEIGHTS:
            raise ValueError(f"ncnn's {kind} has no form in 8 bits here")
        cut, end = int(inputs), int(inputs) + int(outputs)
        settings = dict(one.split("=", 1) for one in rest[end:])
        layers.append(_Layer(kind, name, rest[:cut], rest[cut:end], settings))
    return layers


def _reader(data: bytes) -> Callable[[int, type[Any]], npt.NDArray[Any]]:
    place = 0

    def read(count: int, dtype: type[Any]) -> npt.NDArray[Any]:
        nonlocal place
        start, place = place, place + count * np.dtype(dtype).itemsize
        return np.frombuffer(data, dtype, count, start)

    return read
