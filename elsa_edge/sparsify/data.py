"""Inputs without labels, as arguments of `forward`: an `.npz` file, whole arrays, or batches that somebody made.

Everything that comes in from outside goes through here: what holds no numbers, NaN or infinity, or does not fit the
network is refused once, at this door. Floating numbers become those that the network computes with.
"""

from __future__ import annotations

import contextlib
import inspect
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from elsa_edge.errors import ElsaError, InputError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Batches", "batches_of", "offered", "read_npz", "refuse_broken", "tensors_in"]

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
    """Return which arrays to pass, and whether by keyword; a single array may have any name."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    named = [name for name in parameters if name in arrays]
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    missing = [name for name in needed if name not in arrays]
    if named and not missing:
        return named, True
    if len(arrays) == 1 and len(needed) <= 1:
        return list(arrays), False
    raise InputError(
        f"Inputs of the network are missing ({', '.join(missing)})"
        if named or missing
        else "None of the arrays has the name of an input of the network",
        expected=f"arrays named {', '.join(needed or parameters)}",
        found=", ".join(name or "one without a name" for name in arrays),
    )


def _tensor(value: Any, network: nn.Module, name: str = "") -> Tensor:
    """Return a tensor, floating numbers as the network's own.

    Raises:
        InputError: When there are no numbers in it.
    """
    import torch

    try:
        array = value if isinstance(value, torch.Tensor) else np.asarray(value)
        if isinstance(array, np.ndarray):
            if array.dtype.kind not in "biufc":
                raise TypeError(f"an array of {array.dtype}")
            array = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{f'The input {name}' if name else 'An input'} is no array of numbers",
            expected="an array or a tensor of numbers, the same number in each row",
            found=first_line(error),
        ) from error
    own = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    return array.to(own) if array.is_floating_point() else array


class _Slices:
    """Batches cut from whole arrays."""

    def __init__(self, model: nn.Module, arrays: Mapping[str, Any], batch_size: int) -> None:
        names, self._by_keyword = _arguments(model, arrays)
        self._arrays = {name: _tensor(arrays[name], model, name) for name in names}
        for array in self._arrays.values():
            refuse_broken(array)
        lengths = {name: array.shape[0] if array.ndim else 0 for name, array in self._arrays.items()}
        if min(lengths.values()) < 1 or len(set(lengths.values())) != 1:
            raise InputError("The arrays need one common number of samples, at least 1", found=lengths)
        self._length = next(iter(lengths.values()))
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        # A last batch of one sample would have no variance: it joins the batch before it.
        ends = [*range(self._batch_size, self._length - 1, self._batch_size), self._length]
        start = 0
        for end in ends:
            tensors = {name: array[start:end] for name, array in self._arrays.items()}
            start = end
            yield ((), tensors) if self._by_keyword else (tuple(tensors.values()), {})


class _Iterable:
    """Batches that the caller made: a tensor, a tuple (inputs, labels) or a dictionary each."""

    def __init__(self, model: nn.Module, batches: Iterable[Any]) -> None:
        self._model = model
        if not hasattr(batches, "__iter__") or isinstance(batches, (str, bytes)):
            raise InputError(
                "These are no inputs",
                expected="arrays by name, a tensor, a dataset or batches",
                found=type(batches).__name__,
            )
        # A generator could be gone over once only, and every level needs the same batches.
        self._batches = batches if hasattr(batches, "__len__") else list(batches)

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        before: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        for batch in self._batches:
            made = self._made(batch)
            refuse_broken(made)
            joined = None if before is None else _with_a_single_one(before, made)
            if before is not None and joined is None:
                yield before
            before = made if joined is None else joined
        if before is not None:
            yield before

    def _made(self, batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if isinstance(batch, Mapping):
            names, by_keyword = _arguments(self._model, batch)
            chosen = {name: _tensor(batch[name], self._model, name) for name in names}
            return ((), chosen) if by_keyword else (tuple(chosen.values()), {})
        first = batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch
        inputs = first if isinstance(first, (tuple, list)) else (first,)
        return tuple(_tensor(item, self._model) for item in inputs), {}


def _with_a_single_one(
    before: tuple[tuple[Any, ...], dict[str, Any]], after: tuple[tuple[Any, ...], dict[str, Any]]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return a batch together with the one after it when that has one sample only, and so no variance."""
    import torch

    old, new = (list(a) + list(k.values()) for a, k in (before, after))
    fits = len(old) == len(new) and all(
        a.ndim > 0 and b.ndim > 0 and len(a) > 1 and len(b) == 1 and a.shape[1:] == b.shape[1:]
        for a, b in zip(old, new, strict=False)
    )
    if not fits:
        return None
    tensors = [torch.cat(pair) for pair in zip(old, new, strict=True)]
    count = len(before[0])
    return tuple(tensors[:count]), dict(zip(before[1], tensors[count:], strict=True))


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
        return _Slices(model, {"": data}, batch_size)
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
                raise InputError(
                    "The inputs hold NaN or infinity",
                    found=f"{broken} of {tensor.numel()} values looked at together",
                    fix="Leave such inputs out, or look at how they are made",
                )


@contextlib.contextmanager
def offered(*arguments: Any) -> Iterator[None]:
    """Say whatever a network raises meanwhile as a fault of the inputs: its code is the user's and raises anything.

    Args:
        *arguments: What it is given, to be described.

    Raises:
        InputError: With the first line of the network's error, and the types and shapes of the inputs.
    """
    try:
        yield
    except ElsaError:
        raise
    except Exception as error:
        tensors = tensors_in(arguments)
        found = ", ".join(f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in tensors)
        whole = any(not tensor.is_floating_point() for tensor in tensors)
        raise InputError(
            f"The network does not take these inputs ({type(error).__name__}: {first_line(error)})",
            found=found or None,
            fix="Check names, shapes and types"
            + (": whole numbers stay so, what is computed with must be floats" if whole else ""),
        ) from error
