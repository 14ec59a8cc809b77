"""Read YAML into plain values and remember where each key stands. Nothing in the file is ever executed.

The subset is YAML 1.2's core schema: null, true/false, integers, floats, text, lists, mappings with text
keys. `on` and `yes` are text, `1e3` is a number. Anchors, aliases and tags are refused: a profile has no use
for them, an attacker has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from elsa_edge.errors import ProfileError

__all__ = ["KeyPath", "Position", "Source", "parse", "resolve_scalar"]

_DEEPEST: Final = 16  # a profile needs 4; a limit keeps hostile files from exhausting the stack
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Source:
    """The values of a YAML file and where they stand.

    Attributes:
        values: Plain Python values.
        positions: Path of a key or list entry -> where its key (or the entry) starts; `()` is the document.
    """

    values: Any
    positions: dict[KeyPath, Position]

    def position(self, path: KeyPath) -> Position:
        """Return where `path` stands, or its nearest parent that is in the file."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]


# libyaml reads a profile in 2 ms where Python needs 80; PyYAML's wheels bring it, other builds may not.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # a class chosen at run time has no type
    """Leaves every scalar as text: `resolve_scalar` gives it its type, after YAML 1.2 rather than 1.1."""


_Loader.yaml_implicit_resolvers = {}


def resolve_scalar(text: str) -> bool | int | float | str | None:
    """Return the value of an unquoted scalar by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _at(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


def _refuse_tricks(name: str, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        where = _at(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ProfileError(
                f"{name}, {where}: anchors and aliases are not allowed", fix="Write the value out"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ProfileError(f"{name}, {where}: tags are not allowed", found=str(tag), fix="Remove the tag")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ProfileError(f"{name}, {where}: nested too deeply", expected=f"at most {_DEEPEST} deep")


def _plain(name: str, node: yaml.Node, path: KeyPath, positions: dict[KeyPath, Position]) -> Any:
    positions.setdefault(path, _at(node.start_mark))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(name, child, (*path, i), positions) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.style else resolve_scalar(node.value)
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        where = _at(key_node.start_mark)
        key = key_node.value
        if not isinstance(key, str):
            raise ProfileError(f"{name}, {where}: a key must be text", found="a list or mapping")
        if key in values:
            raise ProfileError(
                f"{name}, {where}: the key {key!r} is given twice",
                found=f"first at {positions[(*path, key)]}",
                fix="Remove one of them",
            )
        positions[(*path, key)] = where
        values[key] = _plain(name, value_node, (*path, key), positions)
    return values


def parse(name: str, text: str) -> Source:
    """Parse one YAML document.

    Args:
        name: The file's name, for messages.
        text: Its content.

    Raises:
        ProfileError: When it is not YAML, uses anchors or tags, repeats a key, or nests deeper than 16.
    """
    try:
        _refuse_tricks(name, text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ProfileError(f"{name}, {_at(error.problem_mark)}: this is not YAML ({reason})") from error
    except yaml.YAMLError as error:  # an unprintable character has a position but no mark
        raise ProfileError(f"{name}: this is not YAML ({' '.join(str(error).split())})") from error
    positions: dict[KeyPath, Position] = {(): Position(1, 1)}
    return Source(None if node is None else _plain(name, node, (), positions), positions)
