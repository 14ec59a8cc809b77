"""Load a trained checkpoint into its network, strictly: every name, every shape, finite numbers, floats as float32."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.errors import CheckpointError
from elsa_edge.trained.matching import Match, find_state, some
from elsa_edge.trained.plain import refuse_lazy, unwrap
from elsa_edge.trained.reading import read_values

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load_arrays", "load_dense", "tensors_of"]

# How torch's weight_norm called its two tensors before it became a parametrization.
_OLD_WEIGHT_NORM: Final = {"_g": ".original0", "_v": ".original1"}


def load_dense(model: nn.Module, path: Path, *, weights: str | None = None) -> tuple[str, ...]:
    """Load a checkpoint into `model`, strictly; float tensors become float32.

    Args:
        model: The network; it keeps its wrappers and parametrizations.
        path: A file or a folder of shards.
        weights: Which set of weights, where the file has several: "ema", or a place such as "state_dict: net.".

    Returns:
        Sentences on what was taken, converted or ignored.

    Raises:
        CheckpointError: When it cannot be read, names or shapes do not fit, several sets of weights do, or a weight is
            NaN or infinite.
    """
    import torch

    network = unwrap(model)
    refuse_lazy(network)
    own = tensors_of(network.float())
    values = _merge_masks(read_values(path))
    tied = _tied(network)
    match, notes = find_state(
        _rename_old_weight_norm(values, own),
        list(own),
        optional=list(tied),
        wanted=weights,
        source=str(path),
    )
    state = {name: _plain_tensor(name, tensor, own[name], path) for name, tensor in match.state.items()}
    shapes = [
        f"{name} is {tuple(tensor.shape)}, the model's is {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if tensor.shape != own[name].shape
    ]
    untold = [n for n, others in tied.items() if n not in state and not any(o in state for o in others)]
    missing = [*match.missing, *untold]
    if missing or match.unknown or shapes:
        raise _misfit(path, match, missing, shapes)
    broken = [n for n, t in state.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if broken:
        raise CheckpointError(f"{path} holds weights that are NaN or infinite", found=some(broken))
    network.load_state_dict(_versioned(state, network), strict=False)
    return (*notes, *_tied_notes(tied, state), *_extra_notes(network))


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the state_dict without what is no tensor: the extra state that modules may keep there."""
    return {name: tensor for name, tensor in model.state_dict().items() if hasattr(tensor, "layout")}


def load_arrays(model: nn.Module, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Load a state_dict of plain arrays into the model, strictly.

    Raises:
        CheckpointError: Listing the names and shapes that do not fit.
    """
    import torch

    own = tensors_of(model)
    missing = sorted(name for name in own if name not in state)
    unknown = sorted(name for name in state if name not in own)
    shapes = [
        f"{n} {tuple(own[n].shape)} != {state[n].shape}"
        for n in own
        if n in state and tuple(own[n].shape) != state[n].shape
    ]
    if missing or unknown or shapes:
        raise _misfit(None, Match("", {}, tuple(missing), tuple(unknown)), missing, shapes)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    # Names and shapes are checked; what torch could still miss is the extra state, which the network keeps.
    model.load_state_dict(_versioned(tensors, model), strict=False)


def _versioned(state: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """Return a state_dict of the versions of the network's own modules, which some of them ask for (MNASNet)."""
    versioned = OrderedDict(state)
    versioned._metadata = getattr(model.state_dict(), "_metadata", {})  # type: ignore[attr-defined]  # noqa: SLF001 - torch keeps versions there
    return versioned


def _misfit(
    path: Path | None, match: Match, missing: Sequence[str], shapes: Sequence[str]
) -> CheckpointError:
    parts = [("missing", missing), ("not in the model", match.unknown), ("of another shape", shapes)]
    where = f" (nearest: {match.place!r})" if match.place else ""
    return CheckpointError(
        f"{path or 'The checkpoint'} does not fit the model{where}",
        found="; ".join(f"{what}: {some(list(names))}" for what, names in parts if names),
        fix="Give the factory of the network that was trained",
    )


def _plain_tensor(name: str, tensor: Tensor, own: Tensor, path: Path) -> Tensor:
    """Return a tensor as a strided one of numbers that the network can hold."""
    if tensor.is_meta:
        raise CheckpointError(f"{path} holds {name} without its numbers (a meta tensor)")
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if "strided" not in str(tensor.layout):
        tensor = tensor.to_dense()
    if tensor.is_complex() and not own.is_complex():
        raise CheckpointError(
            f"{path} holds complex numbers for {name}", expected=str(own.dtype).removeprefix("torch.")
        )
    if own.is_floating_point() and not tensor.is_floating_point() and own.dim():
        raise CheckpointError(
            f"{path} holds whole numbers ({str(tensor.dtype).removeprefix('torch.')}) for {name}",
            expected=str(own.dtype).removeprefix("torch."),
            fix="Codes of a quantised network mean nothing without their scales: save the float network",
        )
    return tensor.float() if tensor.is_floating_point() else tensor


def _merge_masks(values: Any) -> Any:
    """Return values in which `NAME_orig` and `NAME_mask` of torch's pruning are one tensor `NAME`."""
    if not isinstance(values, Mapping):
        return values
    merged: dict[Any, Any] = {}
    for key, value in values.items():
        root = str(key).removesuffix("_orig")
        if str(key).endswith("_orig") and root + "_mask" in values:
            merged[root] = value * values[root + "_mask"]
        elif str(key).endswith("_mask") and str(key).removesuffix("_mask") + "_orig" in values:
            continue
        else:
            merged[key] = _merge_masks(value)
    return merged


def _rename_old_weight_norm(values: Any, own: Mapping[str, Any]) -> Any:
    """Return values under today's names where the network has weight_norm as a parametrization."""
    if not any(".parametrizations." in name for name in own) or not isinstance(values, Mapping):
        return values
    renamed: dict[Any, Any] = {}
    for key, value in values.items():
        old = re.fullmatch(r"(.*\.|)(\w+)(_[gv])", str(key))
        new = f"{old[1]}parametrizations.{old[2]}{_OLD_WEIGHT_NORM[old[3]]}" if old else ""
        renamed[new if old and any(name.endswith(new) for name in own) else key] = _rename_old_weight_norm(
            value, own
        )
    return renamed


def _tied(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return for each name that shares its tensor with others those others."""
    groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if hasattr(tensor, "data_ptr") and tensor.numel():
            groups.setdefault((tensor.data_ptr(), tuple(tensor.shape)), []).append(name)
    return {
        n: tuple(o for o in names if o != n) for names in groups.values() if len(names) > 1 for n in names
    }


def _tied_notes(tied: Mapping[str, Sequence[str]], state: Mapping[str, Tensor]) -> list[str]:
    import torch

    pairs = [(a, b) for a, others in tied.items() for b in others if a < b and a in state and b in state]
    return [
        f"{a} and {b} are one tensor in the network but differ in the file; {b} was kept."
        for a, b in pairs
        if not torch.equal(state[a], state[b])
    ]


def _extra_notes(model: nn.Module) -> list[str]:
    extra = [name for name, value in model.state_dict().items() if not hasattr(value, "layout")]
    return [f"Extra state stays as the factory made it, it is not loaded: {some(extra)}."] if extra else []
