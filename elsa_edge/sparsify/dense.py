"""Read a trained dense checkpoint into a network: `.safetensors`, or `.pt/.pth` without any code in it.

Wrappers that training frameworks put around a state_dict are taken off: `{"state_dict": ...}` and its like,
and the prefixes `module.` (DataParallel), `_orig_mod.` (compile) and `model.` (Lightning) where the network
itself has none.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import CheckpointError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load_dense", "read_state_dict"]

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "module", "net", "params")
_PREFIXES: Final = ("module.", "_orig_mod.", "model.")
_TORCH_SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt")
_OPTIONAL: Final = "num_batches_tracked"  # older checkpoints have none; a counter that inference never reads


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint file, by name, on the CPU.

    Raises:
        CheckpointError: When it is missing, empty, damaged, of an unknown kind, or holds anything but plain
            data.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder", expected="a checkpoint file")
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}")
    if path.suffix == ".safetensors":
        loaded: Any = _read_safetensors(path)
    elif path.suffix in _TORCH_SUFFIXES:
        loaded = _read_torch(path)
    else:
        raise CheckpointError(
            f"{path} is not of a known kind of checkpoint", allowed=[".safetensors", *_TORCH_SUFFIXES]
        )
    state = _unwrap(loaded, path)
    if not state:
        raise CheckpointError(f"{path} holds no tensors")
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            if "elsa_edge.format" in (stream.metadata() or {}):
                raise CheckpointError(
                    f"{path} is nested already",
                    expected="a dense checkpoint",
                    fix="Use it with `elsa-edge export`",
                )
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a safetensors file ({error})") from error


def _read_torch(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle protocol; what cannot be read is an error anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as stream:
            is_pickle = stream.read(1) == b"\x80" or zipfile.is_zipfile(path)
        if is_pickle:
            raise CheckpointError(
                f"{path} holds pickled objects or code, not only tensors; it was refused, nothing was run",
                fix="Save the state_dict alone: torch.save(model.state_dict(), ...)",
            ) from error
        raise CheckpointError(f"{path} is damaged ({first_line(error)})") from error
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as a torch checkpoint ({first_line(error)})") from error


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    import torch

    for _ in range(4):
        if not isinstance(loaded, Mapping):
            raise CheckpointError(f"{path} holds no state_dict", found=type(loaded).__name__)
        inner = [key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = loaded[inner[0]]
    strange = [str(key) for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise CheckpointError(
            f"{path} holds values that are not tensors",
            found=_some(strange),
            fix="Save model.state_dict() alone",
        )
    return {str(key): value for key, value in loaded.items()}


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _without_prefixes(state: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    for _ in range(3):
        if set(state) & own:
            break
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_dense(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into `model`, strictly; float tensors become float32.

    Raises:
        CheckpointError: As `read_state_dict`; or when names or shapes do not fit, which it lists; or when a
            weight is NaN or infinite.
    """
    import torch

    own = model.float().state_dict()
    state = _without_prefixes(read_state_dict(path), set(own))
    missing = [name for name in own if name not in state and not name.endswith(_OPTIONAL)]
    unknown = [name for name in state if name not in own]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, the model's is {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if missing or unknown or shapes:
        parts = [("missing", missing), ("not in the model", unknown), ("of another shape", shapes)]
        raise CheckpointError(
            f"{path} does not fit the model",
            found="; ".join(f"{what}: {_some(names)}" for what, names in parts if names),
            fix="Give the factory of the network that was trained",
        )
    broken = [
        n for n, t in state.items() if t.is_floating_point() and not bool(torch.isfinite(t.float()).all())
    ]
    if broken:
        raise CheckpointError(f"{path} holds weights that are NaN or infinite", found=_some(broken))
    converted = {n: t.float() if t.is_floating_point() else t for n, t in state.items()}
    model.load_state_dict(converted, strict=False)
