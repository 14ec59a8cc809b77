"""The BatchNorm modules of a network, and which of them stands behind which layer.

    y = scale * (x - mean) / sqrt(variance + eps) + bias

A channel whose weights are all zero puts out its bias and BatchNorm turns that into another constant; with scale, bias
and mean zeroed it is exactly zero, and a later pass can drop it without changing any number.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from elsa_edge.sparsify.data import Batches
from elsa_edge.sparsify.prunable import Prunable
from elsa_edge.sparsify.tracing import followers_by_tracing

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["batch_norms", "evaluating", "followers"]


def batch_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Return the BatchNorm modules that have running statistics, by name."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _followers_by_running(model: nn.Module, layers: Mapping[str, str], batches: Batches) -> dict[str, str]:
    """The same, by watching which tensor objects pass from layer to BatchNorm in one inference."""
    import torch

    produced: dict[int, tuple[str, Tensor]] = {}
    found: dict[str, str] = {}
    calls: Counter[str] = Counter()
    modules = dict(model.named_modules())
    handles = []

    def remember(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            produced[id(output)] = (name, output)  # the tensor is kept, so its id stays its own

        return hook

    def look(norm_name: str) -> Any:
        def hook(_module: nn.Module, inputs: Any) -> None:
            calls[norm_name] += 1
            if inputs and id(inputs[0]) in produced:
                found[layers[produced[id(inputs[0])][0]]] = norm_name

        return hook

    handles += [modules[name].register_forward_hook(remember(name)) for name in layers]
    handles += [norm.register_forward_pre_hook(look(name)) for name, norm in batch_norms(model).items()]
    try:
        with evaluating(model), torch.no_grad():
            for arguments, keywords in batches:
                model(*arguments, **keywords)
                break
    finally:
        for handle in handles:
            handle.remove()
    return {weight: norm for weight, norm in found.items() if calls[norm] == 1}


def followers(
    model: nn.Module, weights: Sequence[Prunable], batches: Batches | None
) -> tuple[dict[str, str], str | None]:
    """Find the BatchNorm behind each layer.

    Args:
        model: The network.
        weights: The weights whose layers are looked at.
        batches: Data, for networks that torch.fx cannot trace.

    Returns:
        weight name -> BatchNorm module name, and None or a sentence that says why none could be looked for.
    """
    layers = {weight.module: weight.name for weight in weights}
    norms = batch_norms(model)
    if not norms:
        return {}, None
    try:
        found = followers_by_tracing(model, layers, norms)
    except Exception as error:  # noqa: BLE001 - torch.fx raises whatever the traced code raises
        if batches is not None:
            return _followers_by_running(model, layers, batches), None
        reason = (str(error).splitlines() or [""])[0]
        return {}, (
            f"The BatchNorm behind each layer was not found: torch.fx cannot trace the network ({reason}). "
            "Dead channels keep a constant output there; give --data to find them by running it."
        )
    lonely = [name for name in norms if name not in found.values()]
    if lonely:
        shown = ", ".join(lonely[:5]) + (" ..." if len(lonely) > 5 else "")
        return (
            found,
            f"No nested layer stands right in front of BatchNorm {shown}: its channels stay as they are.",
        )
    return found, None
