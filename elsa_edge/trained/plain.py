"""A network as plain layers: without the wrappers of training, without weights that are computed from others.

    weight_norm, spectral_norm, prune masks, own parametrizations:   weight = f(originals)   ->   weight

Afterwards each weight is one parameter under its own name, so that zeroing it zeroes exactly that weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elsa_edge.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["plain_network", "refuse_lazy", "unwrap"]


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside torch.compile's and DistributedDataParallel's wrappers, whose names it would get."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    inner: Any = model
    while True:
        if isinstance(inner, (DataParallel, DistributedDataParallel)):
            inner = inner.module
        elif hasattr(inner, "_orig_mod"):
            inner = inner._orig_mod  # noqa: SLF001 - torch.compile has no public name for it
        else:
            return inner  # type: ignore[no-any-return]  # a module, as each wrapper holds one


def refuse_lazy(model: nn.Module) -> None:
    """Raise a CheckpointError when a parameter or buffer of the network waits for its first run to get a shape."""
    from torch.nn.parameter import is_lazy

    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise CheckpointError(
                f"{name} has no shape yet (lazy module)", fix="Let the factory run the network once"
            )


def plain_network(model: nn.Module) -> nn.Module:
    """Take wrappers and parametrizations off a network, in place, and return what was inside.

    Its outputs in evaluation mode stay as they are.

    Raises:
        CheckpointError: When the network is a TorchScript program, or has layers without shapes.
    """
    import torch
    from torch.nn.utils import parametrize

    model = unwrap(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise CheckpointError(
            "The factory made a TorchScript program, whose layers cannot be told apart",
            fix="Return the nn.Module itself, before torch.jit.script or torch.jit.trace",
        )
    refuse_lazy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            inner = unwrap(child)
            if inner is not child:
                setattr(parent, name, inner)
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]  # torch types it as a Tensor
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        _remove_hooks(module)
    return model


def _remove_hooks(module: nn.Module) -> None:
    """Fold what torch's older functions compute in a hook before each call: weight_norm, spectral_norm, pruning."""
    from torch.nn.utils.prune import BasePruningMethod
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    hooks = module._forward_pre_hooks  # noqa: SLF001 - torch's own functions that undo this use it too
    for key, hook in list(hooks.items()):
        if isinstance(hook, (WeightNorm, SpectralNorm, BasePruningMethod)):
            hook.remove(module)
            hooks.pop(key, None)
