"""A checkpoint file, or a folder of shards, as plain values. What it is, its content says, not its suffix.

Nothing is unpickled but tensors and the few harmless types that training scripts leave beside them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import pathlib
import pickle
import warnings
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from elsa_edge.errors import CheckpointError, first_line

__all__ = ["read_values"]

_SHARD_LISTS: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE_FILES: Final = ("model.safetensors", "pytorch_model.bin")
_LARGEST_LIST_BYTES: Final = 1 << 26
_ZIP: Final = b"PK"
_PICKLE: Final = b"\x80"
_LFS: Final = b"version https://git-lfs"
_KINDS: Final = "a state_dict written by torch.save, a .safetensors file, or a folder of their shards"


def read_values(path: Path) -> Any:
    """Return what a checkpoint holds, on the CPU: usually a mapping, of tensors or of mappings.

    Raises:
        CheckpointError: When it is missing, damaged, of an unknown kind, or holds anything but plain data.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}")
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(_LFS):
        raise CheckpointError(
            f"{path} is a pointer of Git LFS, not the file itself", fix="Fetch the file: git lfs pull"
        )
    if head.startswith(_ZIP):
        _refuse_torchscript(path)
        return _read_torch(path)
    if head.startswith(_PICKLE):
        return _read_torch(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return _read_safetensors(path)
    if path.suffix in (".safetensors", ".pt", ".pth", ".bin", ".ckpt"):
        raise CheckpointError(f"{path} is damaged: it does not begin as such a file does", expected=_KINDS)
    raise CheckpointError(
        f"{path} is not of a known kind of checkpoint",
        expected=_KINDS,
        fix="Of TensorFlow, Keras or JAX bring an ONNX file: elsa-edge sparsify model.onnx",
    )


def _read_folder(folder: Path) -> dict[str, Any]:
    for name in _SHARD_LISTS:
        if (folder / name).is_file():
            return _read_shards(folder, folder / name)
    for name in _SINGLE_FILES:
        if (folder / name).is_file():
            return dict(read_values(folder / name))
    raise CheckpointError(
        f"{folder} is a folder without weights",
        expected=f"one of {', '.join((*_SHARD_LISTS, *_SINGLE_FILES))}, or a checkpoint file",
    )


def _read_shards(folder: Path, listing: Path) -> dict[str, Any]:
    if listing.stat().st_size > _LARGEST_LIST_BYTES:
        raise CheckpointError(f"{listing} is too large for a list of shards")
    try:
        places = json.loads(listing.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({str(file) for file in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{listing} is damaged", expected='an object with "weight_map"') from error
    state: dict[str, Any] = {}
    for file in files:
        if PurePosixPath(file).name != file:
            raise CheckpointError(f"{listing} names a shard outside its folder", found=file)
        state |= dict(read_values(folder / file))
    missing = [name for name in places if name not in state]
    if missing:
        raise CheckpointError(
            f"The shards of {folder} lack tensors that {listing.name} lists", found=missing[0]
        )
    return state


def _read_safetensors(path: Path) -> dict[str, Any]:
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


def _harmless_types() -> list[Any]:
    """Return types that training scripts save beside tensors; building one runs no code of the file's choice."""
    core = np.core if int(np.__version__.split(".", maxsplit=1)[0]) < 2 else np._core  # type: ignore[attr-defined]  # noqa: SLF001 - where pickles look for them
    numbers = [
        type(np.dtype(kind))
        for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    ]
    paths = [pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath]
    return [
        argparse.Namespace,
        dt.date,
        dt.datetime,
        dt.timedelta,
        dt.timezone,
        np.dtype,
        np.ndarray,
        core.multiarray.scalar,
        core.multiarray._reconstruct,  # noqa: SLF001 - how numpy pickles arrays
        *numbers,
        *paths,
    ]


def _read_torch(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless_types()):
            warnings.simplefilter("ignore")  # of the pickle protocol; what cannot be read is an error anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as stream:
            is_pickle = stream.read(1) == _PICKLE or zipfile.is_zipfile(path)
        if is_pickle:
            raise CheckpointError(
                f"{path} holds pickled objects or code, not only tensors; it was refused, nothing was run",
                fix="Convert it once, where you trust it: "
                f"model = torch.load('{path.name}', weights_only=False) (or its entry 'model'); "
                "torch.save(model.state_dict(), 'weights.pt')",
            ) from error
        raise CheckpointError(f"{path} is damaged ({first_line(error)})") from error
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as a torch checkpoint ({first_line(error)})") from error


def _refuse_torchscript(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is damaged ({first_line(error)})") from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript program, which holds code; it was refused, nothing was run",
            fix=f"Convert it once, where you trust it: model = torch.jit.load('{path.name}'); "
            "torch.save(model.state_dict(), 'weights.pt')",
        )
