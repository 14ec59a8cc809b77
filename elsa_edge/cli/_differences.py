"""What differs between two JSON values, as rows of a table: the place, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["differences", "leaves"]


def differences(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """Return (place, old, new) of every leaf that is not equal; None where one side has no such place.

    Entries of lists that have a `name` are matched by it, so that a layer more does not shift all that follow.
    """
    before, after = leaves(old), leaves(new)
    places = [*before, *(place for place in after if place not in before)]
    return [
        (place, before.get(place), after.get(place))
        for place in places
        if before.get(place) != after.get(place) or (place in before) != (place in after)
    ]


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    """Return place -> value of everything inside a JSON value that holds nothing itself."""
    if isinstance(value, Mapping):
        return _all((f"{place}.{key}" if place else str(key), item) for key, item in value.items())
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
        names = [str(item.get("name", number)) for number, item in enumerate(value)]
        return _all((f"{place}[{name}]", item) for name, item in zip(names, value, strict=True))
    if isinstance(value, (list, tuple)) and len(value) > 1:
        return _all((f"{place}[{number}]", item) for number, item in enumerate(value))
    return {place: value}


def _all(items: Any) -> dict[str, Any]:
    return {leaf: found for place, item in items for leaf, found in leaves(item, place).items()}
