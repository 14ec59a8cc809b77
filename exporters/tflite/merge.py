"""Several models in one file: a subgraph and a signature for each, equal buffers stored once.

Requires: models with the same inputs and outputs by name. Ensures: each signature computes what its model computed.
Tensor names get the signature's key as a prefix, because some tools (quantisers) need them unique over the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elsa_edge.errors import ExportError
from elsa_edge.exporters.tflite.model import TfliteModel, schema

__all__ = ["merge"]


def _same_code(left: Any, right: Any) -> bool:
    return bool(
        left.builtinCode == right.builtinCode
        and left.deprecatedBuiltinCode == right.deprecatedBuiltinCode
        and left.customCode == right.customCode
        and left.version == right.version
    )


def _code_index(codes: list[Any], code: Any) -> int:
    for index, known in enumerate(codes):
        if _same_code(known, code):
            return index
    codes.append(code)
    return len(codes) - 1


def _ports(model: TfliteModel) -> tuple[list[bytes], list[bytes]]:
    signature = model.tree.signatureDefs[0]
    return sorted(item.name for item in signature.inputs), sorted(item.name for item in signature.outputs)


def merge(models: Mapping[str, TfliteModel]) -> TfliteModel:
    """Return one model with a signature for each of `models`, which are used up.

    Args:
        models: Signature key -> a model with one subgraph and one signature.

    Raises:
        ExportError: When a model has other inputs or outputs, several subgraphs, or no signature.
    """
    classes = schema()
    merged = classes.ModelT(
        version=3,
        operatorCodes=[],
        subgraphs=[],
        description="elsa-edge",
        buffers=[classes.BufferT()],
        signatureDefs=[],
    )
    expected = None
    for key, model in models.items():
        tree = model.tree
        if len(tree.subgraphs) != 1 or len(tree.signatureDefs or []) != 1:
            raise ExportError(
                f"Only models with one subgraph and one signature can be merged; {key} has others",
                fix="Build one file per level: packaging: files",
            )
        ports = _ports(model)
        if expected is not None and ports != expected:
            raise ExportError(
                f"The model of {key} has other inputs or outputs", expected=expected, found=ports
            )
        expected = ports
        graph = tree.subgraphs[0]
        graph.name = key
        first_buffer = len(merged.buffers)
        merged.buffers.extend(tree.buffers)
        for tensor in graph.tensors:
            tensor.name = f"{key}/".encode() + (tensor.name or b"")
            tensor.buffer = tensor.buffer + first_buffer if tensor.buffer else 0
        for operator in graph.operators:
            operator.opcodeIndex = _code_index(merged.operatorCodes, tree.operatorCodes[operator.opcodeIndex])
        signature = tree.signatureDefs[0]
        signature.signatureKey = key
        signature.subgraphIndex = len(merged.subgraphs)
        merged.subgraphs.append(graph)
        merged.signatureDefs.append(signature)
    result = TfliteModel(merged)
    result.share_buffers()
    return result
