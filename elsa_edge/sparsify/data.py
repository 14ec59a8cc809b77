"""Batches for BatchNorm re-estimation: an `.npz` file, an array or an iterable, as arguments of `forward`."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from elsa_edge.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Batches", "batches_of", "read_npz", "refuse_broken", "tensors_in"]

Batches: TypeAlias = Iterable[tuple[tuple[Any, ...], dict[str, Any]]]
"""Positional and keyword arguments of `forward`, one pair per batch. Can be iterated over several times."""


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of an `.npz` file; pickled objects in it are refused.

    Raises:
        InputError: When it is missing, damaged, empty, or holds objects.
    """
    if not path.is_file():
        raise InputError(f"There is no data file at {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files} if hasattr(archive, "files") else None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read ({error})", expected="an .npz file of plain arrays"
        ) from error
    if not arrays:
        raise InputError(
            f"{path} holds no named arrays", expected="an .npz file, one array per input of the network"
        )
    return arrays


def _arguments(model: nn.Module, arrays: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return which arrays to pass, and whether by keyword."""
    parameters = [
        name
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    named = [name for name in parameters if name in arrays]
    if named:
        return named, True
    if len(arrays) == 1:
        return list(arrays), False
    raise InputError(
        "None of the arrays has the name of an input of the network",
        expected=f"arrays named {', '.join(parameters)}",
        found=", ".join(arrays),
    )


class _Slices:
    """Batches cut from whole arrays."""

    def __init__(self, model: nn.Module, arrays: Mapping[str, Any], batch_size: int) -> None:
        names, self._by_keyword = _arguments(model, arrays)
        self._arrays = {name: np.asarray(arrays[name]) for name in names}
        lengths = {name: array.shape[0] if array.ndim else 0 for name, array in self._arrays.items()}
        if min(lengths.values()) < 1 or len(set(lengths.values())) != 1:
            raise InputError("The arrays need one common number of samples, at least 1", found=lengths)
        self._length = next(iter(lengths.values()))
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        import torch

        # A last batch of one sample would have no variance: it joins the batch before it.
        ends = [*range(self._batch_size, self._length - 1, self._batch_size), self._length]
        start = 0
        for end in ends:
            tensors = {
                name: torch.from_numpy(np.array(array[start:end])) for name, array in self._arrays.items()
            }
            tensors = {n: t.float() if t.dtype == torch.float64 else t for n, t in tensors.items()}
            start = end
            yield ((), tensors) if self._by_keyword else (tuple(tensors.values()), {})


class _Iterable:
    """Batches that the caller made: a tensor, a tuple (inputs, labels) or a dictionary each."""

    def __init__(self, model: nn.Module, batches: Iterable[Any]) -> None:
        self._model = model
        # A generator could be gone over once only, and every level needs the same batches.
        self._batches = batches if hasattr(batches, "__len__") else list(batches)

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        import torch

        for batch in self._batches:
            if isinstance(batch, Mapping):
                names, by_keyword = _arguments(self._model, batch)
                chosen = {name: torch.as_tensor(batch[name]) for name in names}
                yield ((), chosen) if by_keyword else (tuple(chosen.values()), {})
                continue
            first = batch[0] if isinstance(batch, (tuple, list)) else batch
            inputs = first if isinstance(first, (tuple, list)) else (first,)
            yield tuple(torch.as_tensor(item) for item in inputs), {}


def batches_of(model: nn.Module, data: Any, batch_size: int = 128) -> Batches:
    """Return batches as arguments of `model.forward`.

    Args:
        model: The network; its `forward` names the inputs.
        data: A dictionary of whole arrays, one whole array or tensor, or an iterable of batches such as a
            DataLoader. Of a batch that is a tuple the first item goes in (several inputs: a tuple of them),
            the rest are labels.
        batch_size: Samples per batch where whole arrays are cut.

    Raises:
        InputError: When names or lengths do not fit.
    """
    if isinstance(data, Mapping):
        return _Slices(model, data, batch_size)
    if hasattr(data, "shape"):
        return _Slices(model, {"": np.asarray(data)}, batch_size)
    return _Iterable(model, data)


def tensors_in(arguments: Any) -> list[Tensor]:
    """Return the tensors among arguments."""
    import torch
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor)]


def refuse_broken(arguments: Any) -> None:
    """Refuse inputs with NaN or infinity.

    Raises:
        InputError: With how many there are.
    """
    import torch

    for tensor in tensors_in(arguments):
        if tensor.is_floating_point():
            broken = int((~torch.isfinite(tensor)).sum())
            if broken:
                raise InputError("The inputs hold NaN or infinity", found=f"{broken} values in one batch")
