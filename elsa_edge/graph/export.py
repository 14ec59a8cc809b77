"""nn.Module + nested checkpoint -> checked canonical graph, proved equal to torch at every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx_ir as ir

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ContractError, ElsaError, ExportError, first_line
from elsa_edge.graph.assemble import assemble
from elsa_edge.graph.binding import Binding, bind_inputs
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.torch_export import example_inputs, torch_to_onnx
from elsa_edge.tensors import TensorSpec, largest_difference
from elsa_edge.trained import load_arrays, plain_network

if TYPE_CHECKING:
    import torch

__all__ = ["differences_from_torch", "export_canonical"]

# The numeric contract of docs/architecture.md; float32 sums in another order stay far below it.
_RELATIVE_TOLERANCE: Final = 1e-4
# Another batch than the one that was traced, so that a batch size frozen into the graph is found.
_PROOF_BATCH: Final = 3


def _aliases(model: torch.nn.Module) -> dict[str, list[str]]:
    """Return for each state_dict name the names of the same storage, itself first (tied parameters)."""
    groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault((tensor.data_ptr(), tuple(tensor.shape)), []).append(name)
    return {name: [name, *(n for n in names if n != name)] for names in groups.values() for name in names}


def _under_graph_names(
    checkpoint: NestedCheckpoint, graph: ir.Graph, model: torch.nn.Module
) -> NestedCheckpoint:
    """Rename tied parameters to the one name the exporter kept, and drop what the network never computes with."""
    aliases = _aliases(model)

    def name_in_graph(name: str) -> str | None:
        return next((alias for alias in aliases.get(name, [name]) if alias in graph.initializers), None)

    def renamed(arrays: Mapping[str, Any]) -> dict[str, Any]:
        pairs = ((name_in_graph(name), array) for name, array in arrays.items())
        return {name: array for name, array in pairs if name is not None}

    indices, tables = renamed(checkpoint.indices), renamed(checkpoint.tables)
    weights = {name: checkpoint.weights[name] for name in checkpoint.weights}
    return NestedCheckpoint(weights, indices, tables, checkpoint.ladder, checkpoint.provenance)


def export_canonical(
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    inputs: Sequence[TensorSpec],
    *,
    examples: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> CanonicalGraph:
    """Write a network with nested levels as a canonical graph.

    Args:
        checkpoint: Dense weights, level indices, tables and ladder.
        model: The architecture; its parameters are overwritten with the checkpoint's dense weights.
        inputs: Its inputs, named as the arguments of `forward` that they feed; one without a name takes the next free
            argument. The first dimension of each is the batch and becomes free.
        examples: Real inputs for the proof of equality; random ones are made when None.

    Returns:
        The graph, after the contract check and after comparison with torch at every level.

    Raises:
        CheckpointError: When the checkpoint does not fit the model.
        ExportError: When the model cannot be exported; names the operator and the module.
        ContractError: When the result is not equal to torch. It is then not returned.
    """
    model = plain_network(model).float()
    load_arrays(model, checkpoint.weights)
    binding = bind_inputs(model, inputs)
    onnx_model = torch_to_onnx(model, binding)
    present = _under_graph_names(checkpoint, onnx_model.graph, model)
    graph = assemble(onnx_model, present, [spec.name for spec in binding.inputs])
    proof = examples or example_inputs(binding.inputs, _PROOF_BATCH, seed=1)
    _prove_equal(graph, checkpoint, model, binding, proof)
    return graph


def differences_from_torch(
    graph: CanonicalGraph,
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    examples: Mapping[str, np.ndarray[Any, Any]],
) -> tuple[tuple[float, float], ...]:
    """Return for each level the largest |graph - torch| and the largest |torch| over all outputs."""
    import torch
    from torch.utils._pytree import tree_leaves

    answers = run_canonical(graph, examples)
    arguments, keywords = binding.arguments(examples)
    training = model.training
    model.eval()
    found = []
    try:
        for level, answer in enumerate(answers):
            load_arrays(model, checkpoint.at_level(level))
            with torch.no_grad():
                result = model(*arguments, **keywords)
            expected = [leaf.numpy() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            pairs = [largest_difference(a, e) for a, e in zip(answer.values(), expected, strict=True)]
            found.append((max(p[0] for p in pairs), max(p[1] for p in pairs)))
    finally:
        load_arrays(model, checkpoint.weights)
        model.train(training)
    return tuple(found)


def _prove_equal(
    graph: CanonicalGraph,
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    binding: Binding,
    examples: Mapping[str, np.ndarray[Any, Any]],
) -> None:
    try:
        differences = differences_from_torch(graph, checkpoint, model, binding, examples)
    except ElsaError:
        raise
    except Exception as error:
        first = first_line(error)
        raise ExportError(
            f"The exported graph does not run ({first})",
            fix="torch's exporter wrote one of the model's layers wrongly: use another form of that layer",
        ) from error
    for level, (difference, scale) in enumerate(differences):
        if not difference <= _RELATIVE_TOLERANCE * max(1.0, scale):
            raise ContractError(
                f"The exported graph does not compute what the model computes at level {graph.ladder[level].name}",
                expected=f"a difference of at most {_RELATIVE_TOLERANCE * max(1.0, scale):.3g}",
                found=f"{difference:.3g}",
                fix="Look for values that depend on the batch size, randomness or training mode in the model",
            )
