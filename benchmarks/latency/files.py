"""The files that the engines run: one network with nested levels, as each engine wants to have it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from benchmarks.common.prepare import living_levels
from benchmarks.common.sessions import INPUT, profile_for
from benchmarks.networks import NETS
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.files import write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.fixed import at_level
from elsa_edge.tensors import TensorSpec

__all__ = ["LADDER", "Subject"]

LADDER: Final = (0.98, 0.95, 0.9, 0.8, 0.7, 0.5, 0.0)

Array = npt.NDArray[Any]


@dataclass
class Subject:
    """A network with one pattern of zeros, and a folder in which its files are made when they are asked for.

    Attributes:
        network: A name in `NETS`.
        granularity: "unstructured", "block" or "channel".
        folder: An existing empty folder.
        ladder: Sparsities of the levels, the last one 0.
    """

    network: str
    granularity: str
    folder: Path
    ladder: tuple[float, ...] = LADDER
    inputs: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        shape = NETS[self.network].input_shape
        self.inputs = {INPUT: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
        np.save(self.input_path, self.inputs[INPUT])

    @property
    def dense(self) -> int:
        """The dense level."""
        return len(self.ladder) - 1

    @property
    def input_path(self) -> Path:
        """The input as `.npy`, for engines in processes of their own."""
        return self.folder / "input.npy"

    @cached_property
    def graph(self) -> CanonicalGraph:
        """The canonical graph. Every level has its density in every weight, except the stem and depthwise weights."""
        net = NETS[self.network]
        model = net.factory()
        checkpoint = living_levels(model, net.input_shape, self.ladder, granularity=self.granularity)
        return export_canonical(checkpoint, model, [TensorSpec("", net.input_shape)]).with_input_names(INPUT)

    def fixed(self, level: int) -> Path:
        """Return one level as a plain ONNX network with its zeros in place."""
        path = self.folder / f"level_{level}.onnx"
        if not path.is_file():
            model = at_level(self.graph, level, drop_dead_channels=self.granularity == "channel")
            write_bytes(path, ir.to_proto(model).SerializeToString())
        return path

    def nested(self, *, int8: bool = False) -> tuple[Path, Variant]:
        """Return the folder and description of `ort-nested`, made for this machine."""
        exporter = OrtNestedExporter(int8=int8)
        target = self.folder / exporter.name
        target.mkdir()
        golden = Golden(self.inputs, ())
        variant = exporter.export(self.graph, profile_for("ort-nested"), golden, target)
        write_bytes(target / "variant.json", variant.model_dump_json().encode())
        return target, variant

    def quantised(self, level: int) -> Path:
        """Return a level with 8-bit weights (one scale per channel) and activations, by ONNX Runtime's own tools."""
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped base
            def __init__(self, inputs: dict[str, Array]) -> None:
                self._left = [inputs]

            def get_next(self) -> dict[str, Array] | None:
                return self._left.pop() if self._left else None

        path = self.folder / f"int8_{level}.onnx"
        if not path.is_file():
            logging.disable(logging.WARNING)  # it recommends what at_level has done
            try:
                quantize_static(
                    str(self.fixed(level)),
                    str(path),
                    Reader(self.inputs),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
            finally:
                logging.disable(logging.NOTSET)
        return path

    def for_deepsparse(self, level: int) -> Path:
        """Return a level in the version of ONNX that DeepSparse 1.8 reads, a mean over pixels as it knows it."""
        import onnx

        model = onnx.load(self.fixed(level))
        model.ir_version = 8
        model.opset_import[0].version = 18  # the operators of these networks did not change from 18 to 20
        shape = model.graph.input[0].type.tensor_type.shape
        shape.dim[0].dim_value = self.inputs[INPUT].shape[0]
        del model.graph.value_info[:]
        for place, node in enumerate(list(model.graph.node)):
            if node.op_type == "ReduceMean" and self.inputs[INPUT].ndim == 4:
                pooled = f"{node.output[0]}.pooled"
                model.graph.node.remove(node)
                for step, made in enumerate(
                    (
                        onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [pooled]),
                        onnx.helper.make_node("Flatten", [pooled], [node.output[0]], axis=1),
                    )
                ):
                    model.graph.node.insert(place + step, made)
        path = self.folder / f"deepsparse_{level}.onnx"
        onnx.save(model, path)
        return path

    def litert(self, level: int, kind: str) -> Path:
        """Return a level as a TFLite file.

        Args:
            level: Which level.
            kind: "dense", "sparse" (weights encoded as zeros and nonzeros) or "int8".
        """
        from elsa_edge.exporters.tflite.calibration import ranges
        from elsa_edge.exporters.tflite.convert import convert, require_converter
        from elsa_edge.exporters.tflite.densify import DirectPolicy, encode_weights
        from elsa_edge.exporters.tflite.int8 import quantise
        from elsa_edge.exporters.tflite.prepare import fixed_shapes, prepare

        require_converter()
        batch = self.inputs[INPUT].shape[0]
        shapes = fixed_shapes(self.graph.inputs, self.inputs, batch)
        converted = convert(prepare(at_level(self.graph, level), shapes))
        model = converted.model
        if kind == "sparse":
            encode_weights(model, DirectPolicy())
        elif kind == "int8":
            model = quantise(model, "everything", ranges(model, converted.prepared, [self.inputs]))
        path = self.folder / f"litert_{kind}_{level}.tflite"
        write_bytes(path, model.to_bytes())
        return path
