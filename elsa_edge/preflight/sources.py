"""What preflight looks at: a graph with levels, made in memory from whatever a person has.

Nothing is proved here and nothing may be built of it: an untrained network, or a level that is cut too far, answers
nothing, and is as fast as a trained one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elsa_edge.errors import ContractError, InputError, UsageError
from elsa_edge.files.claims import NESTED

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph

__all__ = ["Network", "graph_of"]

_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True, slots=True)
class Network:
    """What a person names.

    Attributes:
        source: A file (.onnx, or a checkpoint), or `PKG.MODULE:FACTORY` of a network that is not trained yet.
        factory: `PKG.MODULE:FACTORY`, which a checkpoint needs.
        input_shapes: Such as 1x3x224x224; a checkpoint and a factory need them.
        granularity: Of the levels that are tried.
    """

    source: str
    factory: str | None = None
    input_shapes: Sequence[str] = ()
    granularity: str = "unstructured"

    @property
    def name(self) -> str:
        """What to call it."""
        return self.source if ":" in self.source else Path(self.source).name


def graph_of(network: Network, sparsities: Sequence[float]) -> CanonicalGraph:
    """Return the canonical graph in a file, or one made of anything else with levels of these sparsities.

    Raises:
        InputError: When there is nothing, or the file is no ONNX file or checkpoint.
        ExportError: When no graph can be made of it, or it cannot take levels; names what it holds.
        UsageError: When a checkpoint comes without its factory or without its input's shape.
    """
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.onnx_levels import nest_onnx

    path = Path(network.source)
    if not path.exists() and ":" in network.source:
        return _of_torch(network, None, sparsities)
    if not path.exists():
        raise InputError(
            f"There is no model at {path}", expected="an .onnx file, a checkpoint, or PKG.MODULE:FACTORY"
        )
    if path.suffix.lower() in _CHECKPOINTS or path.is_dir():
        return _of_torch(network, path, sparsities)
    try:
        return CanonicalGraph.load(path)
    except ContractError as error:
        if "not a canonical graph" not in error.problem:
            raise
    graph, _ = nest_onnx(path, sparsities, granularity=network.granularity, prove=False)
    return graph


def _is_nested(path: Path) -> bool:
    """Tell whether a checkpoint has levels already."""
    return path.suffix.lower() == ".safetensors" and NESTED.is_one(path)


def _of_torch(network: Network, checkpoint: Path | None, sparsities: Sequence[float]) -> CanonicalGraph:
    factory = network.source if checkpoint is None else network.factory
    if factory is None:
        raise UsageError(
            f"{checkpoint} is a checkpoint, and needs the network that it belongs to",
            fix="Add --model PKG.MODULE:FACTORY and --input-shape 1x3x224x224",
        )
    if not network.input_shapes:
        raise UsageError(
            f"The shape of the input of {network.source} is not known",
            fix="Add --input-shape, such as 1x3x224x224",
        )
    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.factory import build_model
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.sparsify import sparsify
    from elsa_edge.tensors import parse_inputs
    from elsa_edge.trained import load_dense, plain_network

    inputs = parse_inputs(network.input_shapes)
    model = build_model(factory)
    if checkpoint is not None and _is_nested(checkpoint):
        return export_canonical(NestedCheckpoint.load(checkpoint), model, inputs, prove=False)
    if checkpoint is not None:
        load_dense(model, checkpoint)
    model = plain_network(model)
    nested = sparsify(model, sparsities, granularity=network.granularity)
    return export_canonical(nested, model, inputs, prove=False)
