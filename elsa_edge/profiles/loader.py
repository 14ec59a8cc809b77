"""Find, read and check device profiles. An error names file, line and key, what was expected and found."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from elsa_edge.errors import ProfileError, UnknownNameError, closest
from elsa_edge.profiles.schema import NAME_PATTERN, RELATIVE_PATTERN, DeviceProfile
from elsa_edge.profiles.source import KeyPath, Source, parse

__all__ = ["added_folder", "contributed", "find_problems", "load_profile", "profile_names", "profile_of"]

_FOLDER: Final = Path(__file__).parents[1] / "device_profiles"
_ADDED_VARIABLE: Final = "ELSA_EDGE_DEVICES"
_LARGEST_BYTES: Final = 1 << 20
_LAST_LINE: Final = 1 << 30
_PATTERNS: Final = {
    NAME_PATTERN: "a name of lower-case letters, digits, dots, dashes and underscores",
    RELATIVE_PATTERN: "a path relative to probes.root, without a leading slash",
}


def profile_names() -> list[str]:
    """Return the names of the profiles that come with elsa-edge, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def contributed(name: str) -> list[Path]:
    """Return the files that owners of such a board have contributed: `elsa-edge benchmark --suite board` made them."""
    folder = _FOLDER / "measured"
    return sorted(path for path in folder.glob("*.json") if f"{path.stem}-".startswith(f"{name}-"))


def added_folder() -> Path:
    """Return where profiles of devices lie that were added: $ELSA_EDGE_DEVICES, or in the user's configuration."""
    told = os.environ.get(_ADDED_VARIABLE)
    if told:
        return Path(told)
    # Path.home() would raise for a user without a home; such a one has added no device.
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(base, "elsa-edge", "devices")


def load_profile(name_or_path: str | os.PathLike[str]) -> DeviceProfile:
    """Return a device profile: a built-in one or that of an added device by name, or from a YAML file.

    Text that is a built-in name means that profile, before a device that was added under that name; anything else is a
    path.

    Raises:
        UnknownNameError: When it is neither such a name nor an existing file.
        ProfileError: When the file has a mistake; the message names the first, with its line.
    """
    return _only(*_read(_find(name_or_path)))


def profile_of(name: str, text: str) -> DeviceProfile:
    """Return the profile that a text holds.

    Args:
        name: What the text is called in messages.
        text: YAML.

    Raises:
        ProfileError: As `load_profile`.
    """
    return _only(*_checked(Path(name), text))


def _only(profile: DeviceProfile | None, problems: list[ProfileError]) -> DeviceProfile:
    if profile is None:
        more = f" (and {len(problems) - 1} more in this file)" if len(problems) > 1 else ""
        first = problems[0]
        raise ProfileError(
            first.problem + more,
            expected=first.expected,
            found=first.found,
            allowed=first.allowed,
            fix=first.fix,
        )
    return profile


def find_problems(path: str | os.PathLike[str]) -> list[ProfileError]:
    """Return every mistake in a profile file by its line, missing keys last; an empty list when it is correct."""
    try:
        return _read(_find(path))[1]
    except ProfileError as error:
        return [error]


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    text = os.fspath(name_or_path)
    path = Path(text)
    if text in profile_names():
        return _FOLDER / f"{text}.yaml"
    if path.is_file():
        return path
    added = added_folder() / f"{text}.yaml"
    if re.fullmatch(NAME_PATTERN, text) and added.is_file():
        return added
    if path.suffix in {".yaml", ".yml"} or path.parent != Path() or path.exists():
        raise ProfileError(
            f"There is no device profile at {path}",
            fix="`elsa-edge devices new NAME -o FILE` writes one to start from",
        )
    raise UnknownNameError(
        "device", text, [*profile_names(), *(p.stem for p in added_folder().glob("*.yaml"))]
    )


def _read(path: Path) -> tuple[DeviceProfile | None, list[ProfileError]]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise ProfileError(f"{path} is too large for a device profile", expected="at most 1 MiB")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} cannot be read as UTF-8 text ({error})") from error
    return _checked(path, text)


def _checked(path: Path, text: str) -> tuple[DeviceProfile | None, list[ProfileError]]:
    source = parse(str(path), text)
    if not isinstance(source.values, dict):
        found = "nothing" if source.values is None else _shown(source.values)
        raise ProfileError(
            f"{path} is not a device profile", expected="a mapping with keys such as name", found=found
        )
    try:
        # Through JSON, because pydantic's strict mode takes lists for tuples only there.
        return DeviceProfile.model_validate_json(to_json(source.values)), []
    except ValidationError as error:
        details: list[dict[str, Any]] = [dict(detail) for detail in error.errors(include_url=False)]
        # A list whose entries are all wrong counts as empty too; the entries say it better.
        deeper = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
        details = [d for d in details if not (d["type"] == "too_short" and d["loc"] in deeper)]
        problems = [_explain(path, source, detail) for detail in details]
        problems.sort(key=lambda pair: pair[0])
        return None, [problem for _, problem in problems]


def _explain(path: Path, source: Source, detail: dict[str, Any]) -> tuple[tuple[int, int], ProfileError]:
    """Turn one pydantic error into ours, with the place it is sorted by."""
    kind, location = detail["type"], tuple(detail["loc"])
    key = ".".join(str(part) for part in location)
    position = source.position(location)
    where = f"{path}, {position}"
    order = (position.line, position.column)
    if kind == "extra_forbidden":
        allowed = list(_fields_at(location[:-1]))
        near = closest(str(location[-1]), allowed)
        return order, ProfileError(
            f"{where}: unknown key {key!r}", allowed=allowed, fix=f"Nearest: {near!r}" if near else None
        )
    if kind == "missing":
        field = _fields_at(location[:-1])[str(location[-1])]
        return (
            _LAST_LINE,
            position.line,
        ), ProfileError(  # a misspelt key explains more than the one it left out
            f"{where}: the key {key!r} is missing", expected=_lower(field.description or "a value")
        )
    if kind == "value_error":
        what = f"the key {key!r}" if key else "the profile"
        return order, ProfileError(f"{where}: {what} contradicts itself ({detail['ctx']['error']})")
    return order, ProfileError(
        f"{where}: wrong value for the key {key!r}", expected=_wanted(detail), found=_shown(detail["input"])
    )


def _wanted(detail: dict[str, Any]) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "string_pattern_mismatch" and context["pattern"] in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    if detail["type"] == "model_type" or detail["type"] == "dict_type":
        return "a mapping (key: value)"
    if detail["type"] in {"tuple_type", "list_type"}:
        return "a list"
    if detail["type"] == "finite_number":
        return "a finite number"
    if detail["type"] == "too_short":
        return "at least one entry"
    message: str = detail["msg"]
    for prefix in ("Input should be ", "String should ", "Tuple should ", "Data should "):
        message = message.removeprefix(prefix)
    return _lower(message)


def _lower(sentence: str) -> str:
    sentence = sentence.rstrip(".")
    return (
        sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() or sentence[1:2] == " " else sentence
    )


def _shown(value: object) -> str:
    """Show a value as it is written in YAML, shortened."""
    text = to_json(value, fallback=str).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(location: KeyPath) -> dict[str, Any]:
    """Return the fields of the section that `location` leads to."""
    model: type[BaseModel] = DeviceProfile
    for part in location:
        if isinstance(part, str):
            model = _section(model.model_fields[part].annotation) or model
    return dict(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model inside `X`, `X | None` or `tuple[X, ...]`."""
    if get_origin(annotation) in {Union, UnionType, tuple}:
        return next((found for part in get_args(annotation) if (found := _section(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
