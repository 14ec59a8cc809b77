"""Every level of a canonical graph as a checked TFLite model, and models as the files of a variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import FileLayout, Port, TfliteFiles, TfliteSignatures, level_role
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ExportError
from elsa_edge.exporters.tflite.compare import compare, to_file
from elsa_edge.exporters.tflite.convert import Converted, convert, require_converter
from elsa_edge.exporters.tflite.merge import merge
from elsa_edge.exporters.tflite.model import NUMPY_TYPES, TfliteModel
from elsa_edge.exporters.tflite.prepare import fixed_shapes, prepare
from elsa_edge.files import write_bytes
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.dependence import depending_outputs
from elsa_edge.graph.fixed import at_level
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quantise.samples import fixed_batch, sample_axes
from elsa_edge.tensors import TensorSpec

__all__ = ["RUNTIME", "LevelModels", "convert_levels", "packaging", "weight_bytes", "write_variant"]

RUNTIME: Final = "litert"
_SMALL_MEMORY_MB: Final = 1024  # below this one level at a time is resident

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LevelModels:
    """Converted levels, sparsest first.

    Attributes:
        converted: One per level.
        inputs: Canonical inputs; sizes that the file fixes are numbers, a batch that runs in pieces is None.
        outputs: The same for outputs.
        batch: Batch of the files.
        examples: Golden inputs cut to one batch, in the layout of the files.
    """

    converted: tuple[Converted, ...]
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    batch: int
    examples: Mapping[str, Array]


def one_batch(
    specs: Mapping[str, TensorSpec], inputs: Mapping[str, Array], batch: int, start: int = 0
) -> dict[str, Array]:
    """Cut `batch` samples from inputs of any batch, starting over where they are too few."""
    cut, axes = {}, sample_axes(specs)
    batch = fixed_batch(specs) or batch
    for name in specs:
        array = inputs[name]
        if (axis := axes.get(name)) is not None:
            array = np.take(array, np.arange(start, start + batch) % array.shape[axis], axis)
        cut[name] = array
    return cut


def _runs_in_pieces(graph: CanonicalGraph) -> bool:
    """Whether every output carries the batch, so that it can be run in pieces; a constant is right in each of them."""
    depending = depending_outputs(graph.model)
    return all(spec.batch_axis is not None for name, spec in graph.outputs.items() if name in depending)


def _specs(
    specs: Mapping[str, TensorSpec], shapes: Mapping[str, Sequence[int]], pieces: bool
) -> dict[str, TensorSpec]:
    fixed = {}
    for name, spec in specs.items():
        sizes: list[int | None] = list(shapes[name])
        if pieces and spec.batch_axis is not None:
            sizes[spec.batch_axis] = None
        fixed[name] = TensorSpec(name, tuple(sizes), spec.dtype)
    return fixed


def convert_levels(graph: CanonicalGraph, profile: DeviceProfile, golden: Golden) -> LevelModels:
    """Convert every level and compare each with ONNX Runtime.

    Raises:
        RuntimeUnavailableError: When the converter is missing or of another version.
        ExportError: When a level cannot be converted; names the operator.
        ContractError: When a converted level computes something else; names the layer.
    """
    require_converter()
    batch = profile.tflite.batch
    pieces = _runs_in_pieces(graph)
    if not pieces and any(spec.batch_axis is not None for spec in graph.inputs.values()):
        raise ExportError(
            "An output of the network does not carry the batch, so TFLite, which has one batch size in a file, cannot "
            "run other batches in pieces",
            found="; ".join(str(spec) for spec in graph.outputs.values() if spec.batch_axis is None),
            fix="Export with the batch that the device runs: elsa-edge export --batch N",
        )
    shapes = fixed_shapes(graph.inputs, golden.inputs, batch)
    samples = one_batch(graph.inputs, golden.inputs, batch)
    converted = []
    for k, level in enumerate(graph.ladder):
        model = at_level(graph, k)
        prepared = prepare(model, shapes, profile.tflite.input_layout)
        result = convert(prepared)
        compare(result, to_file(prepared, samples), partial(graph.tolerance, level=k), level.name)
        converted.append(result)
    first = converted[0].prepared
    out_shapes = {
        name: tuple(int(str(size)) for size in value.shape or ())
        for name, value in zip(first.outputs, first.model.graph.outputs, strict=True)
    }
    return LevelModels(
        tuple(converted),
        _specs(graph.inputs, shapes, pieces),
        _specs(graph.outputs, out_shapes, pieces),
        batch,
        to_file(first, samples),
    )


def _port(model: TfliteModel, tensor: Any, spec: TensorSpec, layout: FileLayout) -> Port:
    dtype = NUMPY_TYPES[tensor.type]
    described = {"name": spec.name, "shape": spec.shape, "dtype": spec.dtype, "layout": layout}
    return Port.model_validate({**described, "file_shape": model.shape(tensor), "file_dtype": dtype})


def _ports(model: TfliteModel, levels: LevelModels) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return how inputs are fed and outputs are read, for the manifest. It is the same at every level."""
    prepared, signature = levels.converted[0].prepared, model.tree.signatureDefs[0]
    tensors = {
        item.name.decode(): model.graph.tensors[item.tensorIndex]
        for item in (*signature.inputs, *signature.outputs)
    }
    inputs = zip(prepared.inputs, prepared.input_layouts, strict=True)
    return (
        tuple(_port(model, tensors[n], levels.inputs[n], layout) for n, layout in inputs),
        tuple(_port(model, tensors[n], levels.outputs[n], "same") for n in prepared.outputs),
    )


def weight_bytes(model: TfliteModel) -> int:
    """Return the bytes of a model's constants as they lie in memory: sparse ones unpacked."""
    total = 0
    for tensor in model.graph.tensors:
        data = model.tree.buffers[tensor.buffer].data
        if data is not None and len(data):
            dense = (
                int(np.prod(model.shape(tensor), dtype=np.int64))
                * np.dtype(NUMPY_TYPES[tensor.type]).itemsize
            )
            total += max(len(data), dense) if tensor.sparsity is not None else len(data)
    return total


def packaging(profile: DeviceProfile) -> str:
    """Return "files" or "signatures": what the profile says, or by its memory."""
    if profile.tflite.packaging != "auto":
        return profile.tflite.packaging
    return "files" if profile.hardware.memory_mb < _SMALL_MEMORY_MB else "signatures"


def write_variant(
    name: str,
    models: Sequence[TfliteModel],
    levels: LevelModels,
    profile: DeviceProfile,
    folder: Path,
    *,
    relative_tolerance: float = 1e-4,
    notes: Mapping[str, Any] | None = None,
) -> Variant:
    """Write the models into `folder`, packed as the profile says, and describe them. The models are used up."""
    kind = packaging(profile)
    inputs, outputs = _ports(models[0], levels)
    level_bytes = tuple(weight_bytes(model) for model in models)
    stateful = any(tensor.isVariable for model in models for tensor in model.graph.tensors)
    if kind == "signatures":
        merged = merge({level_role(k): model for k, model in enumerate(models)})
        contents = {"model": merged.to_bytes()}
    else:
        contents = {level_role(k): model.to_bytes() for k, model in enumerate(models)}
    files = {role: f"{role}.tflite" for role in contents}
    for role, content in contents.items():
        write_bytes(folder / files[role], content)
    make = TfliteSignatures if kind == "signatures" else TfliteFiles
    return Variant(
        name=name,
        runtime=RUNTIME,
        files=files,
        instructions=make(batch=levels.batch, stateful=stateful, inputs=inputs, outputs=outputs),
        notes={"input_layout": profile.tflite.input_layout, **(notes or {})},
        relative_tolerance=relative_tolerance,
        level_bytes=level_bytes,
    )
