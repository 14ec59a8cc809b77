"""What answers at a level: torch with a checkpoint, ONNX Runtime with a canonical graph, a variant of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from elsa_edge.tensors import BATCH, TensorSpec

if TYPE_CHECKING:
    from torch import nn

    from elsa_edge.bundle.rerouted import SwitchPoint
    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.plugins import Opened
    from elsa_edge.plugins.chain import Chain

__all__ = ["Answerer", "inputs_from", "of_adapter", "of_checkpoint", "of_graph", "of_switch_points"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Answerer:
    """Something that runs one network at its levels.

    Attributes:
        name: What it is, for people: "torch", "canonical graph", or a variant's name.
        inputs: Its inputs.
        levels: How many levels it has.
        run: (inputs, level) -> output name -> array.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    levels: int
    run: Callable[[Mapping[str, Array], int], Mapping[str, Array]]


def of_adapter(name: str, opened: Opened) -> Answerer:
    """Return a loaded variant of a bundle."""
    return Answerer(name, opened.inputs, opened.level_count, opened.run)


def of_switch_points(name: str, chain: Chain, points: Sequence[SwitchPoint]) -> Answerer:
    """Return the ways to change the level inside an inference as if each were a level, in the manifest's order."""

    def run(inputs: Mapping[str, Array], number: int) -> dict[str, Array]:
        levels = points[number].levels
        return chain.run_rerouted(inputs, levels[0], lambda border, _: levels[border + 1])

    return Answerer(f"{name}, rerouted", chain.inputs, len(points), run)


def of_graph(graph: CanonicalGraph) -> Answerer:
    """Return the canonical graph on ONNX Runtime."""
    from elsa_edge.graph.oracle import open_canonical

    return Answerer("canonical graph", graph.inputs, len(graph.ladder), open_canonical(graph))


def inputs_from(model: nn.Module, arrays: Mapping[str, Array]) -> list[TensorSpec]:
    """Return the inputs of a network that arrays of data feed: those that are named as arguments of `forward`.

    Raises:
        UsageError: When an argument without a default has no array.
    """
    import inspect

    from elsa_edge.graph.binding import bind_inputs
    from elsa_edge.trained import unwrap

    network = unwrap(model)
    arguments = inspect.signature(network.forward).parameters
    specs = [
        TensorSpec(
            name, (None, *array.shape[1:]), str(array.dtype), (BATCH, *(None for _ in array.shape[1:]))
        )
        for name, array in arrays.items()
        if name in arguments and array.ndim
    ]
    return list(bind_inputs(network, specs).inputs)


def of_checkpoint(checkpoint: NestedCheckpoint, model: nn.Module, inputs: Sequence[TensorSpec]) -> Answerer:
    """Return torch with the weights of a checkpoint.

    Args:
        checkpoint: The levels.
        model: The network; its parameters are overwritten.
        inputs: Its inputs with a free batch, named as the arguments that they feed.

    Raises:
        CheckpointError: When the checkpoint does not fit the model.
    """
    import torch

    from elsa_edge.graph.outputs import answering
    from elsa_edge.trained import load_arrays, plain_network

    network = plain_network(model).float().eval()
    current = -1

    def run(arrays: Mapping[str, Array], level: int) -> dict[str, Array]:
        nonlocal current
        if level != current:
            load_arrays(network, checkpoint.at_level(level))
            current = level
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        with torch.no_grad(), answering(network, (), tensors) as answer:
            return dict(zip(answer.names, (t.numpy() for t in network(**tensors)), strict=True))

    return Answerer("torch", {spec.name: spec for spec in inputs}, len(checkpoint.ladder), run)
