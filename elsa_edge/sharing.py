"""Variants of one bundle share their bytes: what a graph holds that lies in another's data file, it reads from there.

    HOME/model.data      as its exporter wrote it
    HOME/GUEST.onnx      another variant's graph beside it; equal tensors are places in that file

A runtime lets a graph read only what lies in its own folder, so the guest's graph moves. Nothing is linked: every
file of the bundle is a plain one with its own hash, and the data file is listed once and sent once.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import onnx

from elsa_edge.bundle import Variant
from elsa_edge.bundle.instructions import Levels, Nested, Selector, Switch
from elsa_edge.files import atomic_file, write_bytes
from elsa_edge.graph.shared_data import ALIGNMENT_BYTES, initializers, place_of, refer

__all__ = ["share_data"]

_DATA: Final = "data"
_SUFFIX: Final = ".onnx"
_GUESTS: Final = (Switch, Selector, Levels)
# Smaller tensors stay where they are; so does a graph that would share less than this in all.
_SMALLEST_TENSOR_BYTES: Final = 4096
_LEAST_SHARED_BYTES: Final = 1 << 16


class _Place(NamedTuple):
    """Where some bytes lie in a data file."""

    offset: int
    length: int


class _Shared(NamedTuple):
    """A tensor of a guest, and where its bytes lie in the home's data file."""

    tensor: onnx.TensorProto
    place: _Place


def share_data(folder: Path, variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Let variants read from each other's data files what they both hold, and return them with their new files.

    Args:
        folder: The bundle that is being written.
        variants: Its variants, with paths relative to it.
    """
    homes = {variant.name: variant for variant in variants if isinstance(variant.instructions, Nested)}
    known = {name: _contents(folder, home) for name, home in homes.items()}
    shared = []
    for variant in variants:
        moved = None
        if isinstance(variant.instructions, _GUESTS) and known:
            graphs = _graphs(folder, variant)
            source = folder / variant.name
            saved = {
                name: sum(
                    one.place.length for proto in graphs.values() for one in _shared(proto, source, places)
                )
                for name, places in known.items()
            }
            best = max(saved, key=saved.__getitem__)
            if saved[best] >= _LEAST_SHARED_BYTES:
                moved = _move(folder, variant, graphs, homes[best].files[_DATA], known[best])
        shared.append(moved or variant)
    return tuple(shared)


def _graphs(folder: Path, variant: Variant) -> dict[str, onnx.ModelProto]:
    """Return the graphs of a variant by path, without their external data."""
    paths = sorted({path for path in variant.files.values() if path.endswith(_SUFFIX)})
    return {path: onnx.load(str(folder / path), load_external_data=False) for path in paths}


def _contents(folder: Path, home: Variant) -> dict[str, _Place]:
    """Return SHA-256 -> place of everything large that graphs read from a variant's data file."""
    data = folder / home.files[_DATA]
    places = {
        _Place(place.offset, place.length)
        for proto in _graphs(folder, home).values()
        for tensor in initializers(proto.graph)
        if (place := place_of(tensor)) is not None
        and place.location == data.name
        and place.length >= _SMALLEST_TENSOR_BYTES
    }
    found: dict[str, _Place] = {}
    with data.open("rb") as stream:
        for offset, length in sorted(places):
            stream.seek(offset)
            found.setdefault(hashlib.sha256(stream.read(length)).hexdigest(), _Place(offset, length))
    return found


def _shared(proto: onnx.ModelProto, beside: Path, places: Mapping[str, _Place]) -> list[_Shared]:
    """Return what a graph can read from another data file: a browser hands those to the outer graph only."""
    found = []
    for tensor in proto.graph.initializer:
        own = place_of(tensor)
        if (own.length if own else len(tensor.raw_data)) < _SMALLEST_TENSOR_BYTES:
            continue
        place = places.get(hashlib.sha256(_bytes_of(tensor, beside)).hexdigest())
        if place is not None:
            found.append(_Shared(tensor, place))
    return found


def _bytes_of(tensor: onnx.TensorProto, beside: Path) -> bytes:
    own = place_of(tensor)
    if own is None:
        return bytes(tensor.raw_data)
    with (beside / own.location).open("rb") as stream:
        stream.seek(own.offset)
        return stream.read(own.length)


def _move(
    folder: Path,
    guest: Variant,
    graphs: Mapping[str, onnx.ModelProto],
    data: str,
    places: Mapping[str, _Place],
) -> Variant | None:
    """Write a variant's files beside a data file, with what lies there left out, and return it with its new paths.

    Returns:
        None where a name is taken there.
    """
    source, home = folder / guest.name, PurePosixPath(data).parent
    moved = {path: str(home / _called(guest, path)) for path in dict.fromkeys(guest.files.values())}
    if any((folder / path).exists() for path in moved.values()):
        return None
    kept: dict[str, list[onnx.TensorProto]] = {}
    for proto in graphs.values():
        shared = _shared(proto, source, places)
        for tensor, place in shared:
            refer(tensor, PurePosixPath(data).name, place.offset, place.length)
        elsewhere = {id(tensor) for tensor, _ in shared}
        for tensor in initializers(proto.graph):
            if id(tensor) not in elsewhere and (own := place_of(tensor)) is not None:
                kept.setdefault(own.location, []).append(tensor)
    for location, tensors in kept.items():
        _write_kept(source / location, folder / home / _called(guest, location), tensors)
    for path, proto in graphs.items():
        write_bytes(folder / moved[path], proto.SerializeToString())
    shutil.rmtree(source)
    files = {
        role: moved[path]
        for role, path in guest.files.items()
        if path in graphs or PurePosixPath(path).name in kept
    }
    return guest.model_copy(update={"files": {**files, _role_in(files): data}})


def _write_kept(source: Path, target: Path, tensors: Sequence[onnx.TensorProto]) -> None:
    """Write a data file with what tensors still read from it, and let them read it there."""
    offsets: dict[_Place, int] = {}
    with source.open("rb") as old, atomic_file(target) as temporary, temporary.open("wb") as new:
        for tensor in tensors:
            own = place_of(tensor)
            assert own is not None
            place = _Place(own.offset, own.length)
            if place not in offsets:
                new.write(bytes(-new.tell() % ALIGNMENT_BYTES))
                offsets[place] = new.tell()
                old.seek(place.offset)
                new.write(old.read(place.length))
            refer(tensor, target.name, offsets[place], place.length)


def _called(guest: Variant, path: str) -> str:
    """Return what a guest's file is called in another variant's folder: a single graph like the guest."""
    name = PurePosixPath(path).name
    return f"{guest.name}{_SUFFIX}" if name == f"model{_SUFFIX}" else f"{guest.name}.{name}"


def _role_in(files: Mapping[str, str]) -> str:
    """Return a role that is free for the data of another variant."""
    return _DATA if _DATA not in files else f"{_DATA}_of_another"
