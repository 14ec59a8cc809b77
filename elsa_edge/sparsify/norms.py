"""BatchNorm at each level: statistics re-estimated on data; zero scale, bias and mean behind dead channels.

    y = scale * (x - mean) / sqrt(variance + eps) + bias

A mask changes what a layer puts out, so the running mean and variance of the dense network are wrong for the
sparse ones. A channel whose weights are all zero puts out its bias and BatchNorm turns that into another
constant; with the tables zeroed it is exactly zero, and a later pass can drop it without changing any number.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elsa_edge.errors import InputError, first_line
from elsa_edge.sparsify.data import Batches
from elsa_edge.sparsify.prunable import Prunable
from elsa_edge.sparsify.tracing import followers_by_tracing

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["batch_norms", "evaluating", "followers", "reestimate"]


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


def reestimate(model: nn.Module, batches: Batches) -> dict[str, np.ndarray[Any, Any]]:
    """Estimate the running statistics of every BatchNorm anew, with the weights as they are.

    Args:
        model: Its BatchNorm buffers hold the new statistics afterwards; everything else is as before.
        batches: Arguments of `forward`; the average over batches is taken.

    Returns:
        state_dict name of each mean and variance -> float32 `(channels,)`.

    Raises:
        InputError: When there are no batches or the network does not take them.
    """
    import torch

    norms = batch_norms(model)
    device = next(model.parameters()).device
    count = 0
    momenta = {name: norm.momentum for name, norm in norms.items()}
    with evaluating(model), torch.no_grad():
        counters = {name: norm.num_batches_tracked.clone() for name, norm in norms.items()}  # type: ignore[operator]  # a buffer
        for norm in norms.values():
            norm.reset_running_stats()  # type: ignore[operator]  # a method of _BatchNorm
            norm.momentum = None  # type: ignore[assignment]  # None: the plain average of all batches
            norm.training = True
        try:
            for arguments, keywords in batches:
                moved = [a.to(device) for a in arguments]
                model(*moved, **{key: value.to(device) for key, value in keywords.items()})
                count += 1
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"The network does not take this data ({first_line(error)})") from error
        finally:
            for name, norm in norms.items():
                norm.momentum = momenta[name]
                norm.num_batches_tracked.copy_(counters[name])  # type: ignore[operator]  # a buffer
    if count == 0:
        raise InputError("There is no batch to estimate BatchNorm statistics on")
    state = model.state_dict()
    found = {}
    for name in norms:
        for statistic in ("running_mean", "running_var"):
            key = f"{name}.{statistic}" if name else statistic
            found[key] = state[key].float().cpu().numpy().copy()
    return found


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
