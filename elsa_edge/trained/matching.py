"""Find the state_dict of this network among what a checkpoint holds, by its keys.

    {"epoch": 3, "state_dict": {"net.stem.weight": ..., "criterion.weight": ...}, "ema": {...}}
        candidates   every mapping of tensors, under every prefix that makes some key one of the network's
        chosen       the one that has all of the network's keys; averaged copies only when asked for

Segments that wrappers add anywhere in a name (`_orig_mod` of torch.compile, `module` of DataParallel) do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AVERAGED", "Match", "find_state", "some"]

AVERAGED: Final = "ema"
_DEEPEST: Final = 4
_WRAPPERS: Final = frozenset({"_orig_mod", "module"})
_AVERAGED_NAMES: Final = re.compile(r"(?<![a-z])(ema|averaged|shadow|swa)(?![a-z])", re.IGNORECASE)
# Counters that inference never reads: of BatchNorm, of FLOP counters, of averaging.
_COUNTERS: Final = re.compile(r"(^|\.)(num_batches_tracked|total_ops|total_params|n_averaged|_extra_state)$")


@dataclass(frozen=True, slots=True)
class Match:
    """A state_dict found in a checkpoint.

    Attributes:
        place: Keys and prefix that lead to it, such as "state_dict: net."; empty for the file itself.
        state: Name in the network -> tensor.
        missing: Names of the network that it lacks.
        unknown: Its names that the network does not have.
        ignored: Names beside it, under other prefixes.
    """

    place: str
    state: Mapping[str, Tensor]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @property
    def averaged(self) -> bool:
        """Whether it is an averaged copy (EMA, SWA) of the weights, by its name."""
        return bool(_AVERAGED_NAMES.search(self.place))


def some(names: Sequence[str]) -> str:
    """Return at most ten names, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def find_state(
    values: Any, own: Sequence[str], *, optional: Sequence[str] = (), wanted: str | None = None, source: str
) -> tuple[Match, tuple[str, ...]]:
    """Return the state_dict of a network, and sentences on what was taken and what was left.

    Args:
        values: What the checkpoint holds.
        own: Names in the network's state_dict.
        optional: Those that a checkpoint may lack.
        wanted: "ema" for the averaged copy, or the place of one, as the error for several names them.
        source: The checkpoint's name, for errors.

    Raises:
        CheckpointError: When nothing in it is a state_dict, several different ones fit, or the wanted one is not there.
    """
    mappings = list(_mappings(values, ()))
    if not mappings:
        if isinstance(values, Mapping) and values:
            raise CheckpointError(
                f"{source} holds values that are not tensors",
                found=some([str(key) for key in values]),
                fix="Save model.state_dict() alone",
            )
        if isinstance(values, Mapping):
            raise CheckpointError(f"{source} holds no tensors")
        raise CheckpointError(
            f"{source} holds no state_dict", expected="names and tensors", found=type(values).__name__
        )
    matches = [
        match for place, state in mappings for match in _matches(place, state, own, frozenset(optional))
    ]
    whole = [match for match in matches if not match.missing]
    if wanted is not None:
        return _wanted(whole or matches, wanted, source)
    plain = [match for match in whole if not match.averaged] or whole
    distinct = _distinct(plain)
    if len(distinct) > 1:
        raise CheckpointError(
            f"{source} holds {len(distinct)} different sets of weights that fit the network",
            found=", ".join(repr(match.place) for match in distinct),
            fix=f"Say which: --weights {distinct[0].place!r}",
        )
    if not distinct:
        return max(matches, key=lambda match: len(match.state) - len(match.unknown)), ()
    chosen = distinct[0]
    return chosen, _notes(chosen, whole)


def _notes(chosen: Match, whole: Sequence[Match]) -> tuple[str, ...]:
    notes = []
    if chosen.place:
        notes.append(f"The weights were taken from {chosen.place!r}.")
    averaged = [match.place for match in whole if match.averaged and match is not chosen]
    if averaged:
        notes.append(f"Averaged weights were left alone ({some(averaged)}): --weights {AVERAGED} takes them.")
    elif chosen.averaged:
        notes.append("They are averaged weights; there are no others.")
    if chosen.ignored:
        notes.append(f"Other entries were ignored: {some(chosen.ignored)}.")
    return tuple(notes)


def _wanted(matches: Sequence[Match], wanted: str, source: str) -> tuple[Match, tuple[str, ...]]:
    found = [match for match in matches if (match.averaged if wanted == AVERAGED else match.place == wanted)]
    found = [match for match in found if not match.missing] or found
    if not found:
        raise CheckpointError(
            f"{source} has no weights {wanted!r}",
            allowed=[match.place for match in matches if match.place] or None,
        )
    if len(_distinct(found)) > 1:
        raise CheckpointError(
            f"{source} holds several averaged sets of weights", found=some([match.place for match in found])
        )
    return found[0], _notes(found[0], ())


def _mappings(values: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Return every mapping that holds tensors, outermost first, with the keys that lead to it."""
    if not isinstance(values, Mapping) or len(place) > _DEEPEST:
        return
    tensors = {str(key): value for key, value in values.items() if _is_tensor(value)}
    if tensors:
        yield place, {name: _as_tensor(value) for name, value in tensors.items()}
    for key, value in values.items():
        yield from _mappings(value, (*place, str(key)))


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub")


def _as_tensor(value: Any) -> Any:
    import torch

    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def _plain(name: str) -> str:
    """Return a name without the segments that wrappers add."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _matches(
    place: Sequence[str], state: Mapping[str, Any], own: Sequence[str], optional: frozenset[str]
) -> Iterator[Match]:
    """Return the mapping as a state_dict of the network, under each prefix that fits some of its names."""
    of_network = {_plain(name): name for name in own}
    if len(of_network) < len(own):  # the network tells names apart by such a segment
        of_network = {name: name for name in own}
        names = {name: name for name in state}
    else:
        names = {_plain(name): name for name in state}
    prefixes = {""} | {
        name.removesuffix(known)
        for known in _telling(of_network)
        for name in names
        if name.endswith("." + known)
    }
    for prefix in sorted(prefixes, key=len):
        inside = {name.removeprefix(prefix): raw for name, raw in names.items() if name.startswith(prefix)}
        found = {of_network[name]: state[raw] for name, raw in inside.items() if name in of_network}
        missing = tuple(n for n in own if n not in found and n not in optional and not _COUNTERS.search(n))
        unknown = tuple(
            raw for name, raw in inside.items() if name not in of_network and not _COUNTERS.search(name)
        )
        others = tuple(raw for name, raw in names.items() if not name.startswith(prefix))
        if found or not prefix:
            yield Match(_place(place, prefix), found, missing, unknown, others)


def _telling(names: Mapping[str, str]) -> list[str]:
    """Return the longest names of the network: few others end in the same way."""
    return sorted((name for name in names if not _COUNTERS.search(name)), key=len, reverse=True)[:4]


def _place(keys: Sequence[str], prefix: str) -> str:
    return ": ".join(part for part in (".".join(keys), prefix) if part)


def _distinct(matches: Sequence[Match]) -> list[Match]:
    """Return the matches whose tensors differ from those of all before them."""
    kept: list[Match] = []
    for match in matches:
        if not any(_same(match.state, other.state) for other in kept):
            kept.append(match)
    return kept


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    import torch

    return all(
        name in b and a[name].shape == b[name].shape and bool(torch.equal(a[name], b[name].to(a[name].dtype)))
        for name in a
    )
