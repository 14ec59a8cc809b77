"""Sparse-encode the weights of a model, tensor by tensor, where that makes the file smaller.

    dense weight W --used by--> operator    becomes    sparse W --DENSIFY--> W.dense --used by--> operator
                                            or         sparse W --used by--> FULLY_CONNECTED (its own sparse kernel)

Requires: a float model. Ensures: the same numbers; no tensor grows; every other tensor is untouched.
DENSIFY of a constant is also what makes XNNPACK look for its sparse kernels (exporters/tflite/xnnpack.py). A
FULLY_CONNECTED that takes a sparse weight directly leaves XNNPACK for a builtin kernel that skips zeros on any CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.exporters.tflite.model import TfliteModel, schema
from elsa_edge.exporters.tflite.sparse_encoding import BLOCK, SparseWeight, encode, smallest

__all__ = ["SPARSE_OPERATORS", "DirectPolicy", "SparseReport", "encode_weights"]

# Operators whose weight may come out of a DENSIFY, and the weight's place among the inputs.
SPARSE_OPERATORS: Final = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
    "BATCH_MATMUL": 1,
}
_FLOAT32: Final = 0
# A number stored in a 1x4 block costs about a third of one stored alone (measured on XNNPACK's sparse kernels).
_BLOCK_GAIN: Final = 3.0
# An operator of this version is one with a sparse weight. XNNPACK then leaves it alone; below, it reads the nonzeros as
# if they were the dense weight: wrong numbers or a crash (ai-edge-litert 2.3.0).
_SPARSE_FULLY_CONNECTED_VERSION: Final = 8
_OVERHEAD_BYTES: Final = 256  # DENSIFY operator, second tensor and the sparsity tables around the vectors


@dataclass(frozen=True, slots=True)
class DirectPolicy:
    """When a FULLY_CONNECTED reads its sparse weight directly, without DENSIFY.

    The builtin sparse kernels beat XNNPACK's dense ones only for few rows of input and many zeros. Dense over sparse
    time of four layers, batch 1, one thread, with AVX-512 and (in brackets) on the SSE stand-in:

        weights       CSR 10 %      CSR 5 %       blocks 20 %   blocks 10 %
        256 x 256     0.42 (1.07)   0.74 (1.64)   0.63 (1.85)   0.96 (3.06)
        512 x 512     1.20 (1.69)   1.94 (3.02)   1.63 (2.50)   2.38 (4.05)
        1024 x 1024   1.96 (2.53)   3.46 (4.68)   2.75 (3.64)   5.01 (6.94)

    Attributes:
        largest_csr_density: Stored share of the weight up to which CSR is faster.
        largest_block_density: The same for 1x4 blocks.
        smallest_weights: Below this many weights the dense kernel's data fits the cache and wins.
        largest_rows: Rows of input (batch times sequence) up to which it pays.
    """

    largest_csr_density: float = 0.1
    largest_block_density: float = 0.2
    smallest_weights: int = 1 << 18
    largest_rows: int = 1

    def encoding_for(self, weight: Any, rows: int) -> SparseWeight | None:
        """Return the encoding to use directly, or None where the dense kernel wins."""
        if rows > self.largest_rows or weight.size < self.smallest_weights:
            return None
        coded = encode(weight, "csr")
        density = coded.values.size / weight.size
        if weight.shape[-1] % BLOCK == 0:
            blocks = encode(weight, "block4")
            block_density = blocks.values.size / weight.size
            if block_density <= self.largest_block_density and block_density <= _BLOCK_GAIN * density:
                return blocks
        return coded if density <= self.largest_csr_density else None


@dataclass(frozen=True, slots=True)
class SparseReport:
    """What was done to one weight.

    Attributes:
        tensor: Its name.
        density: Share of numbers that are not zero.
        encoding: "dense" (left alone), "csr", "block4", or these with ", direct".
        dense_bytes: Before.
        stored_bytes: After.
    """

    tensor: str
    density: float
    encoding: str
    dense_bytes: int
    stored_bytes: int


def _consumers(graph: Any) -> dict[int, list[tuple[Any, int]]]:
    """Return tensor index -> the operators that read it, and at which place."""
    found: dict[int, list[tuple[Any, int]]] = {}
    for operator in graph.operators:
        for place, index in enumerate(operator.inputs):
            found.setdefault(int(index), []).append((operator, place))
    return found


def _candidate(model: TfliteModel, tensor: Any, users: list[tuple[Any, int]]) -> npt.NDArray[Any] | None:
    """Return the weight's numbers when every operator that reads the tensor may read a sparse one."""
    if tensor.type != _FLOAT32 or not users:
        return None
    if any(SPARSE_OPERATORS.get(model.operator_name(operator)) != place for operator, place in users):
        return None
    weight = model.constant(tensor)
    return None if weight is None or weight.ndim < 2 or weight.size == 0 else weight


def _direct_encoding(
    model: TfliteModel,
    graph: Any,
    weight: npt.NDArray[Any],
    users: list[tuple[Any, int]],
    direct: DirectPolicy | None,
) -> SparseWeight | None:
    if direct is None or any(model.operator_name(operator) != "FULLY_CONNECTED" for operator, _ in users):
        return None
    sizes = [model.shape(graph.tensors[int(operator.inputs[0])]) for operator, _ in users]
    rows = max(int(np.prod(size, dtype=np.int64)) // weight.shape[-1] for size in sizes)
    return direct.encoding_for(weight, rows)


def _densify(model: TfliteModel, graph: Any, index: int, users: list[tuple[Any, int]]) -> Any:
    """Return a DENSIFY operator that makes tensor `index` dense, after handing its result to the users."""
    classes = schema()
    tensor = graph.tensors[index]
    shape = np.asarray(tensor.shape, np.int32)
    graph.tensors.append(
        classes.TensorT(shape=shape, type=tensor.type, buffer=0, name=tensor.name + b".dense")
    )
    result = len(graph.tensors) - 1
    for user, place in users:
        user.inputs = [result if k == place else int(old) for k, old in enumerate(user.inputs)]
    return classes.OperatorT(
        opcodeIndex=model.operator_code("DENSIFY"),
        inputs=[index],
        outputs=[result],
        builtinOptionsType=classes.BuiltinOptions.DensifyOptions,
        builtinOptions=classes.DensifyOptionsT(),
    )


def encode_weights(
    model: TfliteModel, direct: DirectPolicy | None = None, only: Iterable[str] | None = None
) -> list[SparseReport]:
    """Encode every weight of every subgraph that gets smaller; the model is changed in place.

    Args:
        model: A float model.
        direct: When FULLY_CONNECTED may read a sparse weight directly; None for never.
        only: Names of tensors to encode; all by default.

    Returns:
        One line for each weight of an operator that may be sparse.
    """
    wanted = None if only is None else {name.encode() for name in only}
    report = []
    for graph in model.tree.subgraphs:
        decompressors: list[Any] = []
        consumers = _consumers(graph)
        for index, tensor in list(enumerate(graph.tensors)):
            users = consumers.get(index, [])
            if wanted is not None and tensor.name not in wanted:
                continue
            weight = _candidate(model, tensor, users)
            if weight is None:
                continue
            coded = _direct_encoding(model, graph, weight, users, direct)
            encoding = "dense"
            if coded is not None:
                encoding = f"{coded.layout}, direct"
                for operator, _ in users:
                    operator.opcodeIndex = model.operator_code(
                        "FULLY_CONNECTED", _SPARSE_FULLY_CONNECTED_VERSION
                    )
            else:
                coded = smallest(weight)
                if coded is not None and coded.size_bytes + _OVERHEAD_BYTES < weight.nbytes:
                    encoding = coded.layout
                    decompressors.append(_densify(model, graph, index, users))
            stored_bytes = weight.nbytes
            if coded is not None and encoding != "dense":
                tensor.sparsity = coded.parameters()
                tensor.buffer = model.add_buffer(coded.values)
                stored_bytes = coded.size_bytes
            density = float(np.count_nonzero(weight) / weight.size)
            report.append(SparseReport(tensor.name.decode(), density, encoding, weight.nbytes, stored_bytes))
        graph.operators = decompressors + list(graph.operators)
    model.drop_unused()
    return report
