"""Write a device profile as YAML, with the meaning of each key beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from yaml.resolver import Resolver

from elsa_edge.files import write_bytes
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.profiles.source import resolve_scalar

__all__ = ["SCHEMA_FILE", "lines_of", "render_profile", "save_profile"]

SCHEMA_FILE: Final = Path(__file__).parents[1] / "device_profiles" / "schema.json"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ()+._/*-]*[A-Za-z0-9)*]|[A-Za-z0-9]")
_YAML_1_1: Final = Resolver()  # other readers still follow it: `on` is a boolean there, 2026-01-01 a date


def save_profile(profile: DeviceProfile, path: str | os.PathLike[str]) -> None:
    """Write a profile to a YAML file, atomically; reading it back gives an equal profile."""
    write_bytes(path, render_profile(profile).encode())


def render_profile(profile: DeviceProfile) -> str:
    """Return a profile as YAML text in which each key has a comment that says what it means."""
    return "\n".join(_section(profile, "")).lstrip("\n") + "\n"


def lines_of(model: BaseModel, name: str, *, indent: str = "", comment: bool = True) -> list[str]:
    """Return one key of a profile or of a section of it as YAML."""
    lines = list(_key(name, getattr(model, name), indent))
    return [f"{indent}# {type(model).model_fields[name].description}", *lines] if comment else lines


def _section(model: BaseModel, indent: str) -> Iterator[str]:
    for name in type(model).model_fields:
        if name == "measured" and getattr(model, name) is None:
            continue
        if not indent:
            yield ""
        yield from lines_of(model, name, indent=indent)


def _key(name: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield f"{indent}{name}:"
        yield from _section(value, indent + "  ")
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        yield f"{indent}{name}:"
        for row in value:
            yield f"{indent}  - {_flow(row.model_dump(mode='json', exclude_none=True))}"
    elif isinstance(value, Mapping) and value:
        yield f"{indent}{name}:"
        for key, entry in value.items():
            yield f"{indent}  {_text(str(key))}: {_flow(entry)}"
    else:
        yield f"{indent}{name}: {_flow(value)}"


def _flow(value: Any) -> str:
    """Return a value in YAML's one-line form."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(key))}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(entry) for entry in value) + "]"
    import json  # a device only reads profiles, and may have another json.py beside its script

    return json.dumps(value)


def _text(text: str) -> str:
    tag = _YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's stubs
    if _PLAIN.fullmatch(text) and isinstance(resolve_scalar(text), str) and tag == "tag:yaml.org,2002:str":
        return text
    return yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True).rstrip("\n")
