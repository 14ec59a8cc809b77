"""The rival: ONNX Runtime's own dense 8-bit kernels (QDQ), one plain network a level.

What every user gets with one call of `quantize_static`; a nested level must be faster than this to be worth its name.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.errors import ExportError, first_line
from elsa_edge.files import scratch_folder, write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.fixed import at_level
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quantise.samples import inferences

__all__ = ["dense8"]

_MOST_SAMPLES: Final = 32  # extremes hardly move with more, and every tensor of the network is kept for each

Array = npt.NDArray[Any]


def dense8(
    graph: CanonicalGraph, level: int, samples: Mapping[str, Array], profile: DeviceProfile
) -> ir.Model:
    """Return the plain network of a level with quantised weights and activations, without a level input.

    Weights have a scale per channel. On x86-64 without VNNI they have 7 bits:
    ONNX Runtime's kernels saturate otherwise.

    Args:
        graph: The canonical graph.
        level: The level.
        samples: Calibration inputs.
        profile: Of the device; its features may name VNNI.

    Raises:
        ExportError: When ONNX Runtime's quantiser cannot do the network.
    """
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        def __init__(self) -> None:
            self._feeds = itertools.islice(inferences(graph.inputs, samples), _MOST_SAMPLES)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    narrow = profile.hardware.arch == "x86-64" and not any("vnni" in f for f in profile.hardware.features)
    with scratch_folder() as temporary:
        plain, coded = Path(temporary, "plain.onnx"), Path(temporary, "coded.onnx")
        model = at_level(graph, level, drop_dead_channels=False)
        write_bytes(plain, ir.to_proto(model).SerializeToString())
        _quantise(plain, coded, Reader, narrow=narrow)
        made = ir.load(coded)
        ir.external_data.load_to_model(made)
    return made


def _quantise(plain: Path, coded: Path, reader: Callable[[], Any], *, narrow: bool) -> None:
    """Write the quantised network: a scale per channel, or one per tensor where the quantiser stumbles over that."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    problems = []
    for per_channel in (True, False):  # grouped transposed convolutions only go by tensor
        try:
            with _quiet():
                quantize_static(
                    str(plain),
                    str(coded),
                    reader(),
                    quant_format=QuantFormat.QDQ,
                    per_channel=per_channel,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    reduce_range=narrow,
                )
        except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
            problems.append(first_line(error))
        else:
            return
    raise ExportError("ONNX Runtime's quantiser cannot do this network", found="; ".join(problems))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice off the user's screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
