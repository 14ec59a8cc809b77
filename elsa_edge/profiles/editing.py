"""Change a profile that a person has written where it stands: comments, order and spelling of the rest stay.

    choice: model   # what the fleet uses        ->        choice: all_nested   # what the fleet uses

Only values that differ are replaced, by their place in the text. Where that cannot be done (a section in braces that
lacks a key, say), there is no text, and the profile is written anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel

from elsa_edge.errors import ProfileError
from elsa_edge.files import write_bytes
from elsa_edge.profiles.loader import profile_of
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.profiles.writer import lines_of, save_profile

__all__ = ["edited", "update_profile"]

_MEASURED = "measured"
# A span of the text, and what it becomes.
Change: TypeAlias = tuple[int, int, str]
Pairs: TypeAlias = dict[str, tuple[yaml.Node, yaml.Node]]


def update_profile(profile: DeviceProfile, path: str | os.PathLike[str]) -> None:
    """Write a profile to a file; of a profile that is there only what differs changes. Atomic, as `save_profile`."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    made = edited(text, profile)
    if made is None:
        save_profile(profile, path)
    else:
        write_bytes(path, made.encode())


def edited(text: str, profile: DeviceProfile) -> str | None:
    """Return a profile's text changed to mean `profile`; None where it must be written anew.

    Args:
        text: A profile, as a person wrote it.
        profile: What it is to be.
    """
    try:
        before = profile_of("the profile", text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (ProfileError, yaml.YAMLError):
        return None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    changes = list(_changes(text, _pairs(root), before, profile))
    if None in changes:
        return None
    made = text
    for start, end, replacement in sorted((c for c in changes if c is not None), reverse=True):
        made = made[:start] + replacement + made[end:]
    if before.measured != profile.measured and profile.measured is not None:
        made = made.rstrip("\n") + "\n\n" + "\n".join(lines_of(profile, _MEASURED)) + "\n"
    try:
        return made if profile_of("the profile", made) == profile else None
    except ProfileError:
        return None


def _pairs(node: yaml.MappingNode) -> Pairs:
    return {key.value: (key, value) for key, value in node.value}


def _changes(text: str, pairs: Pairs, before: BaseModel, after: BaseModel) -> Iterator[Change | None]:
    """Yield what changes between two values of one section; None for what has no place in the text."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        if name == _MEASURED:
            if name in pairs:
                yield _whole_lines(text, *pairs[name])
            continue
        if name not in pairs:
            yield None
            continue
        key, value = pairs[name]
        nested = isinstance(old, BaseModel) and isinstance(new, BaseModel)
        if nested and isinstance(value, yaml.MappingNode):
            yield from _changes(text, _pairs(value), old, new)
            continue
        lines = lines_of(after, name, comment=False)
        yield (key.start_mark.index, _end(value), lines[0]) if len(lines) == 1 else None


def _end(node: yaml.Node) -> int:
    """Return where a value ends; PyYAML lets a block end where the next one begins, after its comments."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last: Any = node.value[-1]
    return _end(last[1] if isinstance(node, yaml.MappingNode) else last)


def _whole_lines(text: str, key: yaml.Node, value: yaml.Node) -> Change:
    """Return the removal of a section of the top level, with the lines of comments right above it."""
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    while (above := text.rfind("\n", 0, max(0, start - 1)) + 1) < start and text[above:start].startswith("#"):
        start = above
    end = text.find("\n", _end(value))
    return start, len(text) if end < 0 else end + 1, ""
