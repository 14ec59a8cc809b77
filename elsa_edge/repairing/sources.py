"""What inputs are drawn from: whole arrays, a dataset of torch, batches, or a source of the user's own.

Broken inputs are refused here, once, wherever they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from elsa_edge.errors import InputError, first_line
from elsa_edge.repairing.augment import Arguments
from elsa_edge.sparsify.data import batches_of, refuse_broken

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Source", "source_of"]


class Source(Protocol):
    """Inputs that can be drawn in any order.

    A source may have an attribute `origins`: integers `(inputs,)`, equal for inputs that come from the same picture,
    film or speaker. Without it each input is an origin of its own.
    """

    def __len__(self) -> int:
        """Return the number of inputs."""

    def take(self, places: Tensor) -> Arguments:
        """Return the inputs at the places `(count,)` as arguments of `forward`."""


class _Arrays:
    """Whole arrays or tensors, one an argument."""

    def __init__(self, arguments: Arguments) -> None:
        self._positional, self._named = arguments
        self._length = len(next(iter([*self._positional, *self._named.values()])))

    def __len__(self) -> int:
        return self._length

    def take(self, places: Tensor) -> Arguments:
        """Index every array."""
        return tuple(t[places] for t in self._positional), {k: t[places] for k, t in self._named.items()}


class _Dataset:
    """A map-style dataset of torch: an item is an input, or a tuple whose first is one."""

    def __init__(self, model: nn.Module, dataset: Any) -> None:
        self._model, self._dataset = model, dataset
        self.origins = getattr(dataset, "origins", None)

    def __len__(self) -> int:
        return len(self._dataset)

    def take(self, places: Tensor) -> Arguments:
        """Collate the items."""
        from torch.utils.data import default_collate

        items = [self._dataset[int(place)] for place in places]
        try:
            batch = default_collate(items)
        except (RuntimeError, TypeError) as error:
            raise InputError(
                f"The dataset's items cannot be put together to a batch ({first_line(error)})",
                expected="tensors, arrays or numbers of one shape",
            ) from error
        return next(iter(batches_of(self._model, [batch])))


class _Own:
    """A source of the user's, whose inputs are looked at like any others."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.origins = getattr(source, "origins", None)

    def __len__(self) -> int:
        return len(self._source)

    def take(self, places: Tensor) -> Arguments:
        """Return its inputs unless they are broken."""
        arguments = self._source.take(places)
        refuse_broken(arguments)
        return arguments


def source_of(model: nn.Module, data: Any) -> Source:
    """Return what inputs are drawn from.

    Args:
        model: Its `forward` names the inputs.
        data: A source already (`len` and `take`), a dataset of torch, whole arrays (one, or a mapping by name), or
            batches as a DataLoader makes them, which are then kept in memory. Of a tuple the first item goes in.

    Raises:
        InputError: When names or lengths do not fit, or there is nothing.
    """
    import torch

    if hasattr(data, "take") and hasattr(data, "__len__") and not hasattr(data, "shape"):
        return _Own(data)
    if isinstance(data, torch.utils.data.Dataset) and hasattr(data, "__getitem__"):
        return _Dataset(model, data)
    made: list[Arguments] = [(tuple(a), dict(k)) for a, k in batches_of(model, data)]
    if not made:
        raise InputError("There are no inputs to repair with")
    if any(len(a) != len(made[0][0]) or k.keys() != made[0][1].keys() for a, k in made):
        raise InputError("The batches have different inputs", expected="the same ones in each")
    positional = tuple(_together(parts) for parts in zip(*(a for a, _ in made), strict=True))
    named = {key: _together([k[key] for _, k in made]) for key in made[0][1]}
    lengths = {len(t) for t in [*positional, *named.values()]}
    if len(lengths) != 1:
        raise InputError("The arrays need one common number of samples", found=sorted(lengths))
    return _Arrays((positional, named))


def _together(parts: Sequence[Tensor]) -> Tensor:
    """Return batches as one tensor.

    Raises:
        InputError: When their shapes differ in more than the first dimension.
    """
    import torch

    shapes = {tuple(part.shape[1:]) if part.ndim else None for part in parts}
    if None in shapes or len(shapes) != 1:
        raise InputError(
            "The batches do not go together",
            expected="inputs of one shape, samples first",
            found=", ".join(sorted({str(tuple(part.shape)) for part in parts})[:4]),
            fix="Pad or crop them to one shape",
        )
    return torch.cat(list(parts))
