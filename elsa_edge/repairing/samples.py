"""Inputs without labels, drawn by position so that a seed decides every batch, and a part of them held out.

train      order = permutation, permutation, ...      step s takes places s * size ... (s + 1) * size - 1
held out   never trained on; copies that are augmented fill up where they are few

Crops of one picture, or frames of one film, are alike: held out are whole origins, where the source tells them apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from elsa_edge.errors import InputError
from elsa_edge.repairing.augment import Arguments, Augmentation
from elsa_edge.repairing.sources import Source
from elsa_edge.sparsify.data import tensors_in

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["FEWEST", "Arguments", "Samples"]

FEWEST: Final = 16
# Origins, while they are at most a quarter: of two or three a look at them says little.
_FEWEST_HELD_OUT: Final = 8
_NUMBERS: Final = 2**24
_FINGERPRINTED: Final = 64


class Samples:
    """Inputs split into a part to train on and a held-out part.

    Args:
        source: Where they come from.
        held_out: Share of the second part.
        augmentation: How inputs are varied.
        seed: Of the split, the order and the augmentation.

    Raises:
        InputError: When they are too few.
    """

    def __init__(self, source: Source, *, held_out: float, augmentation: Augmentation, seed: int) -> None:
        import torch

        if len(source) < FEWEST:
            raise InputError(
                "These are too few inputs to repair with",
                expected=f"at least {FEWEST}, better some hundreds",
                found=len(source),
            )
        self._source, self.augmentation, self._seed = source, augmentation, seed
        held = _held_out(_origins(source), held_out, torch.Generator().manual_seed(seed))
        self.held_out_places, self.train_places = (torch.nonzero(part).flatten() for part in (held, ~held))

    def __len__(self) -> int:
        return len(self._source)

    def places(self, level: int, step: int, size: int, *, share: int = 0, shares: int = 1) -> Tensor:
        """Return which inputs a step takes, or one of several equal shares of them; a seed decides."""
        chosen = self.train_places[_stream(len(self.train_places), step * size, size, (self._seed, level))]
        return chosen[share::shares]

    def take(self, places: Tensor) -> Arguments:
        """Return inputs as they are."""
        return self._source.take(places)

    def training(self, level: int, step: int, size: int, *, share: int = 0, shares: int = 1) -> Arguments:
        """Return the batch of a step, or a share of it, augmented; the same for the same seed, level and step."""
        chosen = self.places(level, step, size, share=share, shares=shares)
        return self._augmented(chosen, (self._seed, level, step, *((share,) if shares > 1 else ())))

    def held_out(self, size: int, least: int = 256) -> Iterator[Arguments]:
        """Yield the held-out inputs as they are, then augmented copies until there are `least`."""
        return self._fixed(self.held_out_places, size, least)

    def calibration(self, size: int, most: int | None = None, least: int = 256) -> Iterator[Arguments]:
        """Yield inputs of the training part for statistics of BatchNorm, as `held_out` does.

        Large inputs have many places each, so fewer of them say as much: 1024 small ones, 256 large ones.
        """
        if most is None:
            first = self._source.take(self.train_places[:1])
            numbers = sum(tensor.numel() for tensor in tensors_in(first))
            most = min(1024, max(256, _NUMBERS // max(1, numbers)))
        return self._fixed(self.train_places[:most], size, least)

    def _fixed(self, places: Tensor, size: int, least: int) -> Iterator[Arguments]:
        for part in _cut(places, size):
            yield self.take(part)
        if not self.augmentation.active:
            return
        copies = -(-least // len(places)) - 1
        for copy in range(copies):
            for number, part in enumerate(_cut(places, size)):
                yield self._augmented(part, (copy, number))

    def _augmented(self, places: Tensor, key: tuple[int, ...]) -> Arguments:
        import torch

        arguments = self.take(places)
        if not self.augmentation.active:
            return arguments
        generator = torch.Generator().manual_seed(zlib.crc32(repr(key).encode()))
        return self.augmentation.apply(arguments, generator)

    def fingerprint(self) -> str:
        """Return a short text that differs where the inputs differ: their number, split, and some from all over."""
        import torch

        places = torch.linspace(0, len(self) - 1, min(len(self), _FINGERPRINTED)).long()
        positional, named = self._source.take(places)
        tensors = [*positional, *(named[key] for key in sorted(named)), self.held_out_places]
        sums = [zlib.crc32(np.ascontiguousarray(t.numpy()).tobytes()) for t in tensors]
        return f"{len(self)}:{':'.join(map(str, sums))}"


def _origins(source: Source) -> Tensor:
    """Return the number of each input's origin, 0 ... `(inputs,)`.

    Raises:
        InputError: When they are not one integer an input, or all the same.
    """
    import torch

    told = getattr(source, "origins", None)
    if told is None:
        return torch.arange(len(source))
    try:
        numbers = np.asarray(told)
    except ValueError as error:
        raise InputError("The origins are no row of numbers", expected=f"{len(source)} integers") from error
    if numbers.shape != (len(source),) or numbers.dtype.kind not in "biu":
        found = f"{numbers.dtype} {numbers.shape}"
        raise InputError("The origins do not fit", expected=f"{len(source)} integers", found=found)
    _, places = np.unique(numbers, return_inverse=True)
    if len(places) and places.max() < 1:
        raise InputError("All inputs have one origin", expected="at least two, one of them to be held out")
    return torch.from_numpy(places)


def _held_out(origins: Tensor, share: float, generator: Generator) -> Tensor:
    """Return which inputs are held out, bool `(inputs,)`: a share of the origins, each of them whole.

    Raises:
        InputError: When so much comes from one origin that nothing sensible can be held out.
    """
    import torch

    sizes = torch.bincount(origins)
    count, total = len(sizes), len(origins)
    wanted = max(1, round(share * count), min(_FEWEST_HELD_OUT, count // 4))
    chosen: list[int] = []
    held = 0
    for origin in torch.randperm(count, generator=generator).tolist():
        if len(chosen) >= wanted and 2 * held >= share * total:
            break
        if 2 * (held + int(sizes[origin])) <= total:
            chosen.append(origin)
            held += int(sizes[origin])
    if held < max(2, share * total / 4):
        raise InputError(
            "Too much comes from one origin: nothing that says much can be held out",
            expected=f"origins of less than half of the {total} inputs",
            found=f"one of {int(sizes.max())}",
        )
    return torch.isin(origins, torch.tensor(chosen))


def _stream(count: int, start: int, size: int, key: tuple[int, ...]) -> Tensor:
    """Return `size` places of the endless sequence of permutations of `count`, from `start` on."""
    import torch

    parts, place = [], start
    while place < start + size:
        epoch, offset = divmod(place, count)
        seed = zlib.crc32(repr((*key, epoch)).encode())
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        parts.append(order[offset : offset + start + size - place])
        place += len(parts[-1])
    return torch.cat(parts)


def _cut(places: Tensor, size: int) -> Iterable[Tensor]:
    """Cut places into parts of `size`; a last one of a single place joins the one before: it would have no variance."""
    ends = [*range(size, len(places) - 1, size), len(places)]
    start = 0
    for end in ends:
        yield places[start:end]
        start = end
