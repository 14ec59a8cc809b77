"""Compare a converted model with ONNX Runtime: outputs first, and where they differ, layer by layer.

max |tflite - onnx| <= max(tolerance, 8 * noise) * max |onnx|      for every output: docs/architecture.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from elsa_edge.bundle.golden import Tolerance, largest_difference
from elsa_edge.errors import ContractError
from elsa_edge.exporters.tflite.convert import Converted
from elsa_edge.exporters.tflite.copies import INPUT, OUTPUT
from elsa_edge.exporters.tflite.interpreter import Interpreter
from elsa_edge.exporters.tflite.prepare import Prepared
from elsa_edge.running.onnx_session import open_session, options_for
from elsa_edge.tensors import TO_NHWC

__all__ = ["compare", "first_diverging", "require_equal", "run_onnx", "to_file"]

Array = npt.NDArray[Any]
_LAYER_TOLERANCE: Final = Tolerance(1e-3)  # looser than the contract: rounding accumulates inside


def to_file(prepared: Prepared, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return canonical inputs in the layout and type of the file; names stay canonical."""
    files = {}
    places = zip(prepared.inputs, prepared.input_layouts, prepared.model.graph.inputs, strict=True)
    for name, layout, value in places:
        array = inputs[name].transpose(TO_NHWC) if layout == "NHWC" else inputs[name]
        # ascontiguousarray would make a scalar 1-D
        files[name] = np.asarray(array, None if value.dtype is None else value.dtype.numpy(), order="C")
    return files


def run_onnx(
    prepared: Prepared, inputs: Mapping[str, Array], *, all_values: bool = False
) -> dict[str, Array]:
    """Run the prepared ONNX graph on inputs in the file's layout; outputs under the canonical names.

    Args:
        prepared: The graph.
        inputs: By canonical name.
        all_values: Return every intermediate value instead, under the graph's own names.
    """
    proto = ir.to_proto(prepared.model)
    if all_values:
        del proto.graph.output[:]
        for node in prepared.model.graph:
            for value in node.outputs:
                if value.name:
                    proto.graph.output.add().name = value.name
    session = open_session(proto.SerializeToString(), options_for())
    feed = {f"{INPUT}{k}": inputs[name] for k, name in enumerate(prepared.inputs)}
    wanted = [output.name for output in session.get_outputs()]
    values = dict(zip(wanted, session.run(wanted, feed), strict=True))
    return values if all_values else {name: values[f"{OUTPUT}{k}"] for k, name in enumerate(prepared.outputs)}


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first layer whose numbers differ.

    Attributes:
        node: Name of the ONNX node.
        operator: Its type.
        difference: Largest absolute difference.
        scale: Largest absolute expected value.
    """

    node: str
    operator: str
    difference: float
    scale: float


def _candidates(name: str, tensors: Mapping[str, Array]) -> list[Array]:
    """Return the tensors that may hold the ONNX value `name`: the converter adds suffixes for layouts."""
    exact = [tensors[name]] if name in tensors else []
    return exact + [value for key, value in tensors.items() if key.startswith(name + "_") and value.ndim > 0]


def _closest(expected: Array, candidates: list[Array]) -> float | None:
    """Return the smallest difference over candidates and orders of their axes, or None when no shape fits."""
    best = None
    for candidate in candidates:
        for order in (
            permutations(range(expected.ndim)) if expected.ndim <= 5 else [tuple(range(expected.ndim))]
        ):
            if expected.transpose(order).shape == candidate.shape:
                difference, _ = largest_difference(candidate, expected.transpose(order))
                best = difference if best is None else min(best, difference)
    return best


def first_diverging(converted: Converted, inputs: Mapping[str, Array]) -> Divergence | None:
    """Find the first layer, in the graph's order, whose numbers differ; None when none that can be matched does.

    Args:
        converted: The model and its ONNX graph.
        inputs: In the file's layout, by canonical name.
    """
    expected = run_onnx(converted.prepared, inputs, all_values=True)
    interpreter = Interpreter(converted.model.to_bytes(), keep_all=True)
    interpreter.run(inputs)
    found = interpreter.tensors()
    for node in converted.prepared.model.graph:
        for value in node.outputs:
            wanted = expected.get(str(value.name))
            if wanted is None or wanted.dtype.kind != "f":
                continue
            difference = _closest(wanted, _candidates(str(value.name), found))
            scale = float(np.max(np.abs(wanted), initial=0.0))
            if difference is not None and not _LAYER_TOLERANCE.allows(difference, scale):
                return Divergence(node.name or str(value.name), node.op_type, difference, scale)
    return None


def compare(
    converted: Converted,
    inputs: Mapping[str, Array],
    tolerance_of: Callable[[str], Tolerance],
    level: str,
) -> float:
    """Compare one run with ONNX Runtime and return the largest difference relative to the output's largest value.

    Args:
        converted: The model and its ONNX graph.
        inputs: In the file's layout, by canonical name, of the batch that was converted for.
        tolerance_of: The contract of each output.
        level: Name of the level, for the error.

    Raises:
        ContractError: When an output differs; names the first layer that does.
    """
    expected = run_onnx(converted.prepared, inputs)
    found = Interpreter(converted.model.to_bytes()).run(inputs)
    worst = 0.0
    for name, wanted in expected.items():
        difference, scale = largest_difference(found[name].astype(wanted.dtype), wanted)
        tolerance = tolerance_of(name)
        if not tolerance.allows(difference, scale):
            culprit = first_diverging(converted, inputs)
            where = (
                f"; the first layer that differs is {culprit.operator} ({culprit.node}), by {culprit.difference:.3g}"
                if culprit
                else "; no single layer differs on the builtin kernels, so a fused or delegated kernel does"
            )
            raise ContractError(
                f"The TFLite file of level {level} computes another {name} than ONNX Runtime{where}",
                expected=f"a difference of at most {tolerance.limit(scale):.3g}",
                found=f"{difference:.3g}",
                fix="Build an ONNX Runtime variant (ort-switch), and please report the layer",
            )
        worst = max(worst, difference / scale if scale > 0.0 else 0.0)
    return worst


def require_equal(
    found: Mapping[str, Array], expected: Mapping[str, Array], what: str, reference: str
) -> None:
    """Check that two runs agree within the float contract.

    Raises:
        ContractError: When they do not.
    """
    for name, wanted in expected.items():
        difference, scale = largest_difference(found[name], wanted)
        if not Tolerance().allows(difference, scale):
            raise ContractError(
                f"{what} computes another {name} than {reference}",
                expected=f"a difference of at most {Tolerance().limit(scale):.3g}",
                found=f"{difference:.3g}",
            )
