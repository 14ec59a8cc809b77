"""nn.Module + nested checkpoint -> checked canonical graph, proved equal to torch at every level.

a free batch is tried first; where the network does not trace or compute with one, the batch is a fixed number
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import ContractError, ElsaError, ExportError
from elsa_edge.graph.against_torch import prove_equal
from elsa_edge.graph.asked import checked_batch, checked_examples, checked_names, checked_sizes
from elsa_edge.graph.assemble import assemble
from elsa_edge.graph.attempts import Attempt, Ways
from elsa_edge.graph.binding import bind_inputs
from elsa_edge.graph.canonical import CanonicalGraph, require_one_file
from elsa_edge.graph.outputs import answering
from elsa_edge.graph.torch_errors import FixedSizeError, OperatorError
from elsa_edge.graph.torch_export import torch_to_onnx
from elsa_edge.progress import told
from elsa_edge.tensors import TensorSpec
from elsa_edge.trained import load_arrays, plain_network

if TYPE_CHECKING:
    import torch

__all__ = ["export_canonical"]

Progress = Callable[[str], None]


def export_canonical(
    checkpoint: NestedCheckpoint,
    model: torch.nn.Module,
    inputs: Sequence[TensorSpec],
    *,
    examples: Mapping[str, np.ndarray[Any, Any]] | None = None,
    batch: int | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
    outputs: Sequence[str] = (),
    prove: bool = True,
    progress: Progress | None = None,
) -> CanonicalGraph:
    """Write a network with nested levels as a canonical graph.

    Args:
        checkpoint: Dense weights, level indices, tables and ladder.
        model: The architecture; its parameters are overwritten with the checkpoint's dense weights.
        inputs: Its inputs, named as the arguments of `forward` that they feed; one without a name takes the next free
            argument. See `elsa_edge.graph.sizes` for what is free; a `None` is free, too, the first of them the batch.
        examples: Real inputs for the trace and the proof of equality; random ones are made when None.
        batch: Fix the batch at this number; None tries a free one first.
        sizes: Name of a free size -> numbers to prove the graph at; numbers that fit are looked for otherwise.
        outputs: Keep only these outputs, or what these modules return.
        prove: Compare the graph with torch. Without it nothing may be built of the result: `preflight` only counts
            with it, also where a network has not been trained yet and its answers say nothing.
        progress: Called with a line for each step.

    Returns:
        The graph, after the contract check and after comparison with torch at every level. `provenance["export"]`
        says what is free, what was proved, and in `notes` what follows.

    Raises:
        CheckpointError: When the checkpoint does not fit the model.
        UsageError: When the inputs, the batch or the sizes are none.
        ExportError: When the model cannot be exported; names the operator, the line and what to do.
        ContractError: When the result is not equal to torch. It is then not returned.
    """
    tell = progress or (lambda _: None)
    model = plain_network(model).float()
    binding, batch, wanted = bind_inputs(model, inputs), checked_batch(batch), checked_names(outputs)
    examples, sizes = checked_examples(examples), checked_sizes(sizes)
    load_arrays(model, checkpoint.weights)
    training = model.training
    model.eval()
    try:
        ways = Ways.of(model, binding, examples, sizes)
        write = _Writer(checkpoint, model, wanted, tell, prove)
        if batch is not None:
            return write(ways.fixed(batch))
        refusal = None
        if ways.has_batch:
            graph, refusal = _with_free_batch(ways, write)
            if graph is not None:
                return graph
            tell(f"a free batch does not work ({_why(refusal)}); trying a batch of {ways.batch}")
        return write(ways.fixed(ways.batch), refusal)
    finally:
        model.train(training)


def _with_free_batch(ways: Ways, write: _Writer) -> tuple[CanonicalGraph | None, ElsaError | None]:
    """Return the graph with a free batch, or the reason why there is none."""
    refusal: ElsaError | None = None
    for related in (False, True):
        try:
            return write(ways.free(related=related)), None
        except OperatorError:
            raise
        except FixedSizeError as error:
            refusal = refusal or error
        except (ContractError, ExportError) as error:
            refusal = refusal or error
            break  # sizes were not tied to each other: another kind of freedom does not help
    return None, refusal


def _why(refusal: ElsaError | None) -> str:
    if refusal is None:
        return "no input has one"
    return f"{refusal.problem}{'' if refusal.found is None else f'; {refusal.found}'}"


@dataclass(frozen=True)
class _Writer:
    """Traces, assembles and proves one way.

    Attributes:
        checkpoint: What goes into the graph.
        model: The network.
        outputs: Outputs or modules that are wanted.
        tell: Called with a line for each step.
        prove: Compare with torch.
    """

    checkpoint: NestedCheckpoint
    model: torch.nn.Module
    outputs: Sequence[str]
    tell: Progress
    prove: bool

    def __call__(self, attempt: Attempt, refusal: ElsaError | None = None) -> CanonicalGraph:
        """Return the proved graph; `refusal` says why its batch is not free."""
        import torch

        model, checkpoint, binding = self.model, self.checkpoint, attempt.binding
        arguments, keywords = binding.arguments(attempt.trace)
        names = [spec.name for spec in binding.inputs]
        with torch.no_grad(), answering(model, arguments, keywords, self.outputs, names) as answer:
            size = (
                "no"
                if not attempt.stacked
                else "a free"
                if attempt.batch is None
                else f"a fixed ({attempt.batch})"
            )
            self.tell(told(f"tracing with {size} batch", 0.05))
            keep = {*checkpoint.indices, *checkpoint.tables}
            onnx_model = torch_to_onnx(
                model, binding, attempt.trace, answer.names, related=attempt.related, keep=keep
            )
            graph = assemble(onnx_model, _under_graph_names(checkpoint, onnx_model.graph, model), names)
            require_one_file(graph.model)
            if not self.prove:
                return graph
            self.tell(told(f"comparing {len(graph.ladder)} levels with torch", 0.5))
            graph = prove_equal(graph, checkpoint, model, binding, attempt.proofs, real=attempt.real)
        facts = {
            "batch": (attempt.batch or "free") if attempt.stacked else "none",
            "sizes": dict(attempt.sizes[0]) if attempt.sizes else {},
            "proved_sizes": [dict(row) for row in attempt.sizes if row],
            "notes": [*answer.notes, *graph.provenance["proof"]["notes"], *_consequences(attempt, refusal)],
        }
        return graph.with_provenance(export=facts)


def _consequences(attempt: Attempt, refusal: ElsaError | None) -> list[str]:
    """Say what follows from a fixed batch, and where free sizes were proved."""
    notes = []
    if attempt.batch is not None and attempt.stacked:
        reason = f", because a free one does not work: {_why(refusal)}" if refusal is not None else ""
        notes.append(
            f"The batch is fixed at {attempt.batch}{reason}. Each inference takes exactly {attempt.batch}, and "
            "variants for other batches need another export (--batch N)."
        )
    proved = [", ".join(f"{name}={number}" for name, number in row.items()) for row in attempt.sizes if row]
    if proved:
        notes.append(f"Free sizes were proved at {'; '.join(proved)}.")
    return notes


def _aliases(model: torch.nn.Module) -> dict[str, list[str]]:
    """Return for each state_dict name the names of the same storage, itself first (tied parameters)."""
    groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not hasattr(tensor, "data_ptr"):
            continue  # extra state of a module
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
