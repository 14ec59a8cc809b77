"""A TFLite model in memory: read, write, look inside, drop what nobody uses.

It works on the schema's own object classes (`ModelT`, `SubGraphT`, `TensorT` ...), which come with ai-edge-litert.
Buffer 0 is always the empty buffer; a tensor without constant data points at it.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.errors import ExportError, RuntimeUnavailableError

__all__ = ["NUMPY_TYPES", "TfliteModel", "schema"]

_IDENTIFIER: Final = b"TFL3"
_EMPTY_BUFFER: Final = 0

_ALIGNMENT_BYTES: Final = 16  # what the schema asks of constant data; kernels load it as vectors

# TensorType of the schema -> numpy; the types that weights and activations of ordinary networks have.
NUMPY_TYPES: Final = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
}


def schema() -> Any:
    """Return the module with the schema's classes.

    Raises:
        RuntimeUnavailableError: When ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"Writing TFLite needs the schema that ai-edge-litert brings ({error})",
            fix="pip install 'ai-edge-litert>=2.3'",
        ) from error
    return schema_py_generated


def _operator_names() -> dict[int, str]:
    return {code: name for name, code in vars(schema().BuiltinOperator).items() if not name.startswith("_")}


def _pack_aligned(buffer: Any, builder: Any) -> int:
    """Write one buffer; the generated writer would leave its data at any address."""
    classes = schema()
    data = None
    if buffer.data is not None and len(buffer.data):
        content = np.asarray(buffer.data, np.uint8).tobytes()
        builder.StartVector(1, len(content), _ALIGNMENT_BYTES)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        data = builder.EndVector()
    classes.BufferStart(builder)
    if data is not None:
        classes.BufferAddData(builder, data)
    return int(classes.BufferEnd(builder))


def _bring_in(tree: Any, content: bytes) -> None:
    """Load constant data that a writer of large models has put behind the flatbuffer."""
    for buffer in tree.buffers:
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(content):
                raise ValueError("constant data end behind the file")
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0


class TfliteModel:
    """A mutable TFLite model.

    Attributes:
        tree: The schema's `ModelT`. Passes change it in place; shapes and buffers are numpy arrays or lists.
    """

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self._names = _operator_names()

    @classmethod
    def from_bytes(cls, content: bytes, origin: str = "The model") -> TfliteModel:
        """Read a flatbuffer.

        Raises:
            ExportError: When the bytes are not a TFLite model.
        """
        classes = schema()
        if content[4:8] != _IDENTIFIER:
            raise ExportError(
                f"{origin} is not a TFLite file",
                expected="the identifier TFL3 at byte 4",
                found=repr(content[4:8]),
            )
        try:
            tree = classes.ModelT.InitFromObj(classes.Model.GetRootAs(content, 0))
            _bring_in(tree, content)
            return cls(tree)
        except Exception as error:  # whatever a damaged offset makes the reader stumble over
            raise ExportError(f"{origin} is a damaged TFLite file ({type(error).__name__})") from error

    @classmethod
    def load(cls, path: Path) -> TfliteModel:
        """Read a file; see `from_bytes`."""
        return cls.from_bytes(path.read_bytes(), str(path))

    def to_bytes(self) -> bytes:
        """Return the flatbuffer."""
        import flatbuffers

        for buffer in self.tree.buffers:
            buffer.Pack = partial(_pack_aligned, buffer)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.tree.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    @property
    def graph(self) -> Any:
        """The first subgraph."""
        return self.tree.subgraphs[0]

    def operator_name(self, operator: Any) -> str:
        """Return the builtin's name, such as `CONV_2D`; a custom operator as `CUSTOM:its code`."""
        code = self.tree.operatorCodes[operator.opcodeIndex]
        name = self._names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return f"CUSTOM:{code.customCode.decode()}" if name == "CUSTOM" else name

    def operator_code(self, name: str, version: int = 1) -> int:
        """Return the index of an operator code of exactly this version, adding it when the model has none."""
        number = getattr(schema().BuiltinOperator, name)
        for index, code in enumerate(self.tree.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == number and code.version == version:
                return index
        # Old readers look at the deprecated field, which is a signed byte; 127 sends them to the new one.
        old_number = min(number, 127)
        self.tree.operatorCodes.append(
            schema().OperatorCodeT(deprecatedBuiltinCode=old_number, builtinCode=number, version=version)
        )
        return len(self.tree.operatorCodes) - 1

    def constant(self, tensor: Any) -> npt.NDArray[Any] | None:
        """Return a constant's numbers, shaped; None for an activation, a sparse tensor or an unusual type."""
        data = self.tree.buffers[tensor.buffer].data
        dtype = NUMPY_TYPES.get(tensor.type)
        if data is None or len(data) == 0 or tensor.sparsity is not None or dtype is None:
            return None
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype).reshape(self.shape(tensor))

    @staticmethod
    def shape(tensor: Any) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tuple(int(size) for size in tensor.shape) if tensor.shape is not None else ()

    def add_buffer(self, content: npt.NDArray[Any] | bytes) -> int:
        """Append constant data and return the buffer's index."""
        raw = content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
        self.tree.buffers.append(schema().BufferT(data=np.frombuffer(raw, np.uint8)))
        return len(self.tree.buffers) - 1

    def share_buffers(self) -> None:
        """Merge equal buffers and drop those that nothing points at; buffer 0 stays the empty one."""
        first: dict[bytes, int] = {}
        kept = [schema().BufferT()]
        moved: dict[int, int] = {_EMPTY_BUFFER: _EMPTY_BUFFER}

        def new_index(old: int) -> int:
            if old not in moved:
                data = self.tree.buffers[old].data
                if data is None or len(data) == 0:
                    moved[old] = _EMPTY_BUFFER
                    return _EMPTY_BUFFER
                digest = hashlib.sha256(np.asarray(data, np.uint8).tobytes()).digest()
                if digest not in first:
                    first[digest] = len(kept)
                    kept.append(self.tree.buffers[old])
                moved[old] = first[digest]
            return moved[old]

        for graph in self.tree.subgraphs:
            for tensor in graph.tensors:
                tensor.buffer = new_index(tensor.buffer)
        for entry in self.tree.metadata or []:
            entry.buffer = new_index(entry.buffer)
        self.tree.buffers = kept

    def drop_unused(self) -> None:
        """Remove tensors that no operator, input or output of their subgraph names, then unused buffers."""
        for graph in self.tree.subgraphs:
            lists = [graph.inputs, graph.outputs]
            for operator in graph.operators:
                parts = (operator.inputs, operator.outputs, operator.intermediates)
                lists += [part for part in parts if part is not None]
            used = sorted({int(index) for part in lists for index in part if index >= 0})
            place = {old: new for new, old in enumerate(used)} | {-1: -1}
            graph.tensors = [graph.tensors[index] for index in used]
            graph.inputs = [place[int(index)] for index in graph.inputs]
            graph.outputs = [place[int(index)] for index in graph.outputs]
            for operator in graph.operators:
                for field in ("inputs", "outputs", "intermediates"):
                    if getattr(operator, field) is not None:
                        setattr(operator, field, [place[int(index)] for index in getattr(operator, field)])
            for signature in self.tree.signatureDefs or []:
                if self.tree.subgraphs[signature.subgraphIndex] is graph:
                    for item in (*signature.inputs, *signature.outputs):
                        item.tensorIndex = place[item.tensorIndex]
        self.share_buffers()
