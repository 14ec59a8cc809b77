"""ONNX -> TFLite by onnx2tf's direct flatbuffer path: no TensorFlow, and no file of the user's is touched.

The converter is pinned to one version, because its output is post-processed here; every result is compared with ONNX
Runtime (exporters/tflite/compare.py) before it may be used.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import logging
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from elsa_edge.errors import ExportError, RuntimeUnavailableError
from elsa_edge.exporters.tflite.blame import module_of, no_tflite_form
from elsa_edge.exporters.tflite.copies import INPUT, OUTPUT, append_copy, without_copies
from elsa_edge.exporters.tflite.model import NUMPY_TYPES, TfliteModel, schema
from elsa_edge.exporters.tflite.prepare import SHIELD, Prepared
from elsa_edge.exporters.tflite.transposes import cancel_transposes, reshape_trivial
from elsa_edge.files import scratch_folder
from elsa_edge.tensors import FROM_NHWC, TO_NHWC

__all__ = [
    "CONVERTER_VERSION",
    "INSTALL",
    "Converted",
    "convert",
    "missing_converter",
    "quiet",
    "require_converter",
]

CONVERTER_VERSION: Final = "2.6.9"
# Its metadata asks for Python >= 3.12 and for exact versions of eighteen packages, of which this path needs none.
INSTALL: Final = (
    "pip install ai-edge-litert==2.3.0 psutil sng4onnx && "
    f"pip install --no-deps --ignore-requires-python onnx2tf=={CONVERTER_VERSION}"
)
_SIGNATURE: Final = "serving_default"


@dataclass(frozen=True)
class Converted:
    """A converted level.

    Attributes:
        model: One subgraph, one signature with the canonical names.
        prepared: What was converted; its model is the ONNX graph that the file must equal.
    """

    model: TfliteModel
    prepared: Prepared


def require_converter() -> None:
    """Check that the converter is there.

    Raises:
        RuntimeUnavailableError: When it is missing or of another version; the fix is the install command.
    """
    try:
        found = version("onnx2tf")
    except PackageNotFoundError:
        found = None
    if found != CONVERTER_VERSION:
        raise RuntimeUnavailableError(
            "TFLite variants need the converter onnx2tf",
            expected=f"version {CONVERTER_VERSION}",
            found=found or "none installed",
            fix=INSTALL,
        )


@lru_cache(maxsize=1)
def _folder() -> Path:
    """Return the one folder of this process that the converter writes to: it caches its schema by folder."""
    kept = contextlib.ExitStack()
    atexit.register(kept.close)
    return kept.enter_context(scratch_folder())


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Keep a tool's progress bars and warnings off the terminal, and its seeds out of our random numbers."""
    text = io.StringIO()
    numpy_state, python_state, level = np.random.get_state(), random.getstate(), logging.root.manager.disable  # noqa: NPY002 - what the converter seeds
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        gc.freeze()  # it collects garbage twice a model, which is slow next to a large heap such as torch's
        try:
            yield text
        finally:
            gc.unfreeze()
            logging.disable(level)
            np.random.set_state(numpy_state)  # noqa: NPY002 - the same
            random.setstate(python_state)


def missing_converter() -> str | None:
    """Return what stands in the way of converting on this machine, with the install command; None when nothing does."""
    try:
        require_converter()
        schema()
    except RuntimeUnavailableError as error:
        return str(error)
    return None


def _custom_operators(model: TfliteModel, prepared: Prepared) -> None:
    """Refuse operators that only a custom or TensorFlow kernel could run, by their names in ONNX."""
    for operator in model.graph.operators:
        name = model.operator_name(operator)
        if not name.startswith("CUSTOM"):
            continue
        result = model.graph.tensors[int(operator.outputs[0])].name.decode()
        code = name.removeprefix("CUSTOM:").removeprefix("ONNX_")
        makers = [
            node
            for node in prepared.model.graph
            if node.op_type.upper() == code or any(o.name == result for o in node.outputs)
        ]
        node = makers[0] if makers else None
        raise no_tflite_form(node.op_type, node) if node else no_tflite_form(code)


def _channels_first(model: TfliteModel, index: int) -> int:
    """Append a TRANSPOSE (n, H, W, C) -> (n, C, H, W) that the converter forgot, and return its result's index."""
    classes, graph = schema(), model.graph
    source = graph.tensors[index]
    shape = model.shape(source)
    order = np.array(FROM_NHWC, np.int32)
    permutation = classes.TensorT(
        shape=np.array([4], np.int32),
        type=classes.TensorType.INT32,
        buffer=model.add_buffer(order),
        name=b"to_nchw",
    )
    result = classes.TensorT(
        shape=np.array([shape[axis] for axis in FROM_NHWC], np.int32),
        type=source.type,
        name=source.name + b"_nchw",
    )
    graph.tensors += [permutation, result]
    graph.operators.append(
        classes.OperatorT(
            opcodeIndex=model.operator_code("TRANSPOSE"),
            inputs=[index, len(graph.tensors) - 2],
            outputs=[len(graph.tensors) - 1],
            builtinOptionsType=classes.BuiltinOptions.TransposeOptions,
            builtinOptions=classes.TransposeOptionsT(),
        )
    )
    return len(graph.tensors) - 1


def _sign(model: TfliteModel, prepared: Prepared) -> None:
    """Replace the converter's signature by one with the canonical names, and check the shapes.

    Raises:
        ExportError: When an input or output is missing or has another shape than the ONNX graph.
    """
    classes = schema()
    graph = model.graph
    places = {(tensor.name or b"").decode(): index for index, tensor in enumerate(graph.tensors)}

    def entries(kind: str, prefix: str, names: tuple[str, ...], values: Any, present: Any) -> list[Any]:
        found = []
        for number, (name, value) in enumerate(zip(names, values, strict=True)):
            if kind == "output" and number in prepared.copies:
                continue
            index = places.get(f"{prefix}{number}")
            if index is None or index not in {int(item) for item in present}:
                raise ExportError(
                    f"The converter lost the {kind} {name}", fix="Build an ONNX Runtime variant (ort-switch)"
                )
            expected = tuple(int(str(size)) for size in value.shape)
            is_image = kind == "output" and len(expected) == 4
            if (
                is_image
                and model.shape(graph.tensors[index]) == tuple(expected[axis] for axis in TO_NHWC) != expected
            ):
                index = _channels_first(model, index)
            if model.shape(graph.tensors[index]) != expected:
                raise ExportError(
                    f"The converter gave the {kind} {name} another shape",
                    expected=expected,
                    found=model.shape(graph.tensors[index]),
                )
            found.append(classes.TensorMapT(name=name.encode(), tensorIndex=index))
        return found

    inputs = entries("input", INPUT, prepared.inputs, prepared.model.graph.inputs, graph.inputs)
    outputs = entries("output", OUTPUT, prepared.outputs, prepared.model.graph.outputs, graph.outputs)
    known = {f"{INPUT}{place}": item.tensorIndex for place, item in enumerate(inputs)}
    computed = [place for place in range(len(prepared.outputs)) if place not in prepared.copies]
    known |= {f"{OUTPUT}{place}": item.tensorIndex for place, item in zip(computed, outputs, strict=True)}
    for place, source in sorted(prepared.copies.items()):
        index = append_copy(model, known[source] if isinstance(source, str) else source, f"{OUTPUT}{place}")
        outputs.insert(place, classes.TensorMapT(name=prepared.outputs[place].encode(), tensorIndex=index))
    graph.inputs = [item.tensorIndex for item in inputs]
    graph.outputs = [item.tensorIndex for item in outputs]
    model.tree.signatureDefs = [
        classes.SignatureDefT(
            inputs=inputs, outputs=outputs, signatureKey=_SIGNATURE.encode(), subgraphIndex=0
        )
    ]


def _drop_shields(model: TfliteModel) -> None:
    """Take out the products with one that kept shared outputs apart; see `prepare`."""
    graph = model.graph
    for operator in list(graph.operators):
        names = [(graph.tensors[int(index)].name or b"").decode() for index in operator.inputs]
        shields = [place for place, name in enumerate(names) if name.startswith(SHIELD)]
        if (
            model.operator_name(operator) != "MUL"
            or len(shields) != 1
            or operator.builtinOptions.fusedActivationFunction
        ):
            continue
        source, product = int(operator.inputs[1 - shields[0]]), int(operator.outputs[0])
        if model.shape(graph.tensors[source]) != model.shape(graph.tensors[product]):
            continue
        for user in graph.operators:
            user.inputs = [source if int(index) == product else int(index) for index in user.inputs]
        graph.outputs = [source if int(index) == product else int(index) for index in graph.outputs]
        name = graph.tensors[product].name
        if name.startswith(OUTPUT.encode()):
            graph.tensors[product].name, graph.tensors[source].name = graph.tensors[source].name, name
        graph.operators.remove(operator)


def convert(prepared: Prepared) -> Converted:
    """Convert a prepared graph.

    Raises:
        RuntimeUnavailableError: When the converter is missing or of another version.
        ExportError: When it cannot convert; names the operator where the converter does.
    """
    require_converter()
    from onnx2tf import convert as run_converter

    proto = without_copies(ir.to_proto(prepared.model), prepared.copies)
    folder = _folder()
    written = folder / "model_float32.tflite"
    written.unlink(missing_ok=True)
    with quiet() as said:
        try:
            run_converter(
                onnx_graph=proto,  # a file would be overwritten
                input_onnx_file_path=None,
                output_folder_path=str(folder),
                not_use_onnxsim=True,
                non_verbose=True,
                verbosity="error",
                copy_onnx_input_output_names_to_tflite=True,
                keep_shape_absolutely_input_names=[f"{INPUT}{k}" for k in range(len(prepared.inputs))],
            )
        except (Exception, SystemExit) as error:  # whatever its rules stumble over
            raise _explained(prepared, _chain(error)) from error
    if not written.is_file():
        raise _explained(prepared, said.getvalue())
    model = TfliteModel.load(written)
    written.unlink()
    _custom_operators(model, prepared)
    _drop_shields(model)
    cancel_transposes(model)
    _sign(model, prepared)
    reshape_trivial(model)
    model.tree.metadata = None
    model.tree.metadataBuffer = None
    model.tree.description = "elsa-edge"
    strange = [t for t in model.graph.tensors if t.type not in NUMPY_TYPES]
    if strange:
        raise ExportError(f"The converter made a tensor of an unusual type: {strange[0].name.decode()}")
    model.drop_unused()
    return Converted(model, prepared)


def _explained(prepared: Prepared, text: str) -> ExportError:
    """Turn the converter's words into an error that names an operator when the words name one."""
    for node in prepared.model.graph:
        if node.name and node.name in text:
            return ExportError(
                f"The operator {node.op_type} ({node.name}{module_of(node)}) could not be converted to TFLite",
                found=_first_line(text),
                fix="Replace it in the module, or build an ONNX Runtime variant (ort-switch)",
            )
    for node in prepared.model.graph:
        if f"op={node.op_type}" in text or f"'{node.op_type}'" in text or f"op_type={node.op_type}" in text:
            return ExportError(
                f"The operator {node.op_type} ({node.name}{module_of(node)}) could not be converted to TFLite",
                found=_first_line(text),
                fix="Replace it in the module, or build an ONNX Runtime variant (ort-switch)",
            )
    return ExportError(
        "The network could not be converted to TFLite",
        found=_first_line(text),
        fix="Build an ONNX Runtime variant (ort-switch)",
    )


def _chain(error: BaseException) -> str:
    """Return the messages of an error and what caused it, the deepest cause first."""
    messages: list[str] = []
    current: BaseException | None = error
    while current is not None:
        messages.insert(0, str(current))
        current = current.__cause__ or current.__context__
    return "\n".join(messages)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else "no reason given"
