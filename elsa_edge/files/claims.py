"""May a command write there? Asked before the work, so that nothing is lost and nothing is done for nothing.

An output that is also an input, lies in a bundle, or is an existing file of another kind, is refused unless a person
insists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.files.writing import require_writable

__all__ = ["CANONICAL", "NESTED", "NOTHING", "PROFILE", "Kind", "claim"]

_MARK: Final = b"elsa_edge.format"
_LARGEST_HEADER_BYTES: Final = 100 << 20
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that commands write.

    Attributes:
        name: What people call it.
        is_one: Whether an existing file is one.
        suffixes: How their names end, by which other verbs know them; empty where nothing asks.
    """

    name: str
    is_one: Callable[[Path], bool]
    suffixes: tuple[str, ...] = ()


def _is_nested_checkpoint(path: Path) -> bool:
    """A safetensors file whose metadata names our format."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= _LARGEST_HEADER_BYTES:
            return False
        header: Any = json.loads(stream.read(size))
    return isinstance(header, dict) and _MARK.decode() in (header.get("__metadata__") or {})


def _is_canonical_graph(path: Path) -> bool:
    """An ONNX file (its first field is the IR version) that holds our metadata somewhere."""
    with path.open("rb") as stream:
        if stream.read(1) != b"\x08":
            return False
        before = b""
        while chunk := stream.read(_CHUNK_BYTES):
            if _MARK in before + chunk:
                return True
            before = chunk[-len(_MARK) :]
    return False


def _is_profile(path: Path) -> bool:
    """Our profiles are text; which keys it has is the business of its reader."""
    return b"\0" not in path.read_bytes()[:_CHUNK_BYTES] and path.suffix in (".yaml", ".yml")


NESTED: Final = Kind("nested checkpoint", _is_nested_checkpoint, (".safetensors",))
CANONICAL: Final = Kind("canonical graph", _is_canonical_graph, (".onnx",))
PROFILE: Final = Kind("device profile", _is_profile, (".yaml", ".yml"))
NOTHING: Final = Kind("file", lambda _: False)  # for what is edited by hand after it was written


def claim(
    destination: Path, *, kinds: Sequence[Kind] = (), inputs: Sequence[Path] = (), force: bool = False
) -> None:
    """Check that a command may write to a place and can; nothing is changed.

    Args:
        destination: Where it will write.
        kinds: What it may find there to replace; nothing looks at an existing file when empty.
        inputs: What it reads.
        force: Write all the same.

    Raises:
        UsageError: When the place is an input, lies in a bundle, holds a file of another kind, or has a name by which
            nothing would know what it is.
        ElsaError: When the place cannot be written to.
    """
    fix = "Choose another name, or add --force"
    if not force and any(_same(destination, path) for path in inputs):
        raise UsageError(f"{destination} is an input of this command and would be overwritten", fix=fix)
    if not force and (bundle := _bundle_around(destination)) is not None:
        raise UsageError(f"{destination} lies in the bundle {bundle}, which would not open any more", fix=fix)
    if kinds and destination.is_dir():
        raise ElsaError(f"{destination} is a folder", expected="the name of a file to write")
    if not force and kinds and destination.is_file() and not any(_is(kind, destination) for kind in kinds):
        names = " or a ".join(kind.name for kind in kinds if kind is not NOTHING)
        raise UsageError(f"{destination} exists" + (f" and is not a {names}" if names else ""), fix=fix)
    if not force and not destination.exists():
        _require_known_name(destination, kinds)
    require_writable(destination)


def _require_known_name(destination: Path, kinds: Sequence[Kind]) -> None:
    """Refuse a name that ends otherwise than all names of its kind do."""
    endings = [suffix for kind in kinds for suffix in kind.suffixes]
    if endings and destination.suffix.lower() not in endings:
        raise UsageError(
            f"{destination} would be a {' or a '.join(kind.name for kind in kinds)} that other verbs do not know",
            expected=f"a name that ends in {' or '.join(endings)}",
            fix="Choose another name, or add --force",
        )


def _is(kind: Kind, path: Path) -> bool:
    try:
        return (path.stat().st_size == 0 and kind is not NOTHING) or kind.is_one(path)
    except (OSError, ValueError):
        return False


def _bundle_around(path: Path) -> Path | None:
    """Return the bundle that a path lies in. A bundle is known by the two files that every one has at its top."""
    for folder in path.resolve().parents:
        if (folder / "manifest.json").is_file() and (folder / "golden.npz").is_file():
            return folder
    return None


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
