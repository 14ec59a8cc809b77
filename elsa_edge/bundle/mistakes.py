"""What is wrong with a manifest, in words: which entry, what was expected, what was found, the nearest key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from elsa_edge.bundle import instructions, rerouted
from elsa_edge.bundle.manifest import FileEntry, InputOutput, LevelEntry, Manifest, Variant
from elsa_edge.errors import closest
from elsa_edge.visible import hidden_in

__all__ = ["mistakes"]

# How many are told; a damaged manifest may have thousands.
_MOST: Final = 3
_LONGEST: Final = 60
_SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "variants": Variant,
    "ladder": LevelEntry,
    "files": FileEntry,
    "inputs": InputOutput,
    "outputs": InputOutput,
    "segments": rerouted.Segment,
    "switch_points": rerouted.SwitchPoint,
}
_KINDS: Final[Mapping[str, type[BaseModel]]] = {
    "selector": instructions.Selector,
    "switch": instructions.Switch,
    "levels": instructions.Levels,
    "nested": instructions.Nested,
    "tflite-files": instructions.TfliteFiles,
    "tflite-signatures": instructions.TfliteSignatures,
    "rerouted": instructions.Rerouted,
    "other:": instructions.Other,
}
_PREFIXES: Final = ("Input should be ", "String should have ", "Tuple should have ", "Value error, ")


def mistakes(error: ValidationError, values: object) -> str:
    """Return the first mistakes of a manifest, each a clause, joined by semicolons.

    Args:
        error: What pydantic found.
        values: The manifest's JSON values; names of entries are taken from there.
    """
    details = error.errors(include_url=False)
    # A list whose entries are all wrong counts as empty too; the entries say it better.
    deeper = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    details = [d for d in details if not (d["type"] == "too_short" and d["loc"] in deeper)]
    told = [_told(detail, values) for detail in details[:_MOST]]
    more = f"; and {len(details) - _MOST} more" if len(details) > _MOST else ""
    return "; ".join(dict.fromkeys(told)) + more


def _told(detail: Any, values: object) -> str:
    kind, place = detail["type"], tuple(detail["loc"])
    if kind == "extra_forbidden":
        near = closest(str(place[-1]), _keys_at(place[:-1]))
        return f"{_where(place, values)}: unknown key" + (f", nearest is {near}" if near else "")
    if kind == "missing":
        return f"{_where(place, values)}: the key is missing"
    message = str(detail["msg"])
    for prefix in _PREFIXES:
        if message.startswith(prefix):
            message = message.removeprefix(prefix)
            break
    if kind == "unknown_kind":
        found = detail["input"].get("kind") if isinstance(detail["input"], Mapping) else detail["input"]
        return f"{_where((*place, 'kind'), values)}: {message}, found {_shown(found)}"
    if kind in ("value_error", "json_invalid"):
        return f"{_where(place, values)}: {message}"
    return f"{_where(place, values)}: expected {_worded(detail, message)}, found {_shown(detail['input'])}"


def _worded(detail: Any, message: str) -> str:
    """Return what was expected, as it follows the word."""
    if detail["type"] == "too_short":
        return f"at least {detail['ctx']['min_length']} entry"
    if detail["type"] == "string_pattern_mismatch":
        return f"text like {detail['ctx']['pattern']}"
    return message


def _where(place: Sequence[int | str], values: object) -> str:
    """Return a place as `variants.ort-nested.instructions.choices`: entries by their names, kinds left out."""
    parts: list[str] = []
    inside: Any = values
    for part in place:
        if isinstance(part, int):
            inside = inside[part] if isinstance(inside, Sequence) and part < len(inside) else None
            name = inside.get("name", inside.get("path")) if isinstance(inside, Mapping) else None
            known = isinstance(name, str) and name and hidden_in(name) is None
            parts.append(str(name) if known else str(part))
        elif part in _KINDS and parts[-1:] == ["instructions"]:
            continue  # pydantic's tag; no key of the manifest
        else:
            inside = inside.get(part) if isinstance(inside, Mapping) else None
            parts.append(part if hidden_in(part) is None else ascii(part))
    return ".".join(parts) or "the whole file"


def _keys_at(place: Sequence[int | str]) -> list[str]:
    """Return the keys that may stand at a place."""
    model: type[BaseModel] = Manifest
    for before, part in zip(("", *place), place, strict=False):
        if before == "instructions" and part in _KINDS:
            model = _KINDS[str(part)]
        elif part in ("inputs", "outputs") and "instructions" in place:
            model = instructions.Port
        elif isinstance(part, str):
            model = _SECTIONS.get(part, model)
    return list(model.model_fields)


def _shown(value: object) -> str:
    """Show a value as it is written in JSON, shortened."""
    text = to_json(value, fallback=str).decode()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
