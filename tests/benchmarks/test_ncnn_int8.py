"""The two files of a small ncnn network in 8 bits, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.ncnn_int8 import coded_layers, quantise

PARAM = """7767517
5 6
Input                    in0                      0 1 in0
Convolution              first                    1 1 in0 1 0=2 1=1 5=1 6=4 9=1
Split                    copies                   1 2 1 2 3
ConvolutionDepthWise     second                   1 1 2 4 0=2 1=1 5=0 6=2 7=2
InnerProduct             third                    1 1 3 out0 0=1 1=1 2=2
"""


def floats(*numbers: float) -> bytes:
    return np.array(numbers, np.float32).tobytes()


def test_weights_become_codes_and_what_reads_codes_is_given_them() -> None:
    """The first layer writes codes, because every reader of both copies takes them; the last one writes numbers."""
    weights = floats(0, 1, -2, 0.5, 4, 9, 8) + floats(0, 1, -4) + floats(0, 3, 6, 7)
    param, data = quantise(PARAM, weights, {"first": 2.0, "second": 4.0, "third": 1.0})
    assert [line.split("8=")[-1].split()[0] for line in param.splitlines() if " 8=" in line] == [
        "101",
        "1",
        "1",
    ]
    assert coded_layers(PARAM) == {"first": "in0", "second": "2", "third": "3"}
    tag = np.uint32(0x000D4B38).tobytes()
    first = tag + np.array([64, -127, 16, 127], np.int8).tobytes() + floats(9, 8)
    first += floats(127 / 2, 127 / 4, 127 / 2, 127 / 4)
    second = tag + np.array([127, -127, 0, 0], np.int8).tobytes() + floats(127, 127 / 4, 127 / 4)
    third = tag + np.array([64, 127, 0, 0], np.int8).tobytes() + floats(7) + floats(127 / 6, 127)
    assert data == first + second + third


def test_an_unknown_layer_and_other_weights_are_refused() -> None:
    """A layer with weights that are not known would shift all that follow; so would half floats."""
    with pytest.raises(ValueError, match="LSTM has no form"):
        quantise(PARAM.replace("InnerProduct", "LSTM"), b"", {})
    with pytest.raises(ValueError, match="first are not float32"):
        quantise(PARAM, np.uint32(0x01306B47).tobytes() + bytes(100), {"first": 1, "second": 1, "third": 1})
