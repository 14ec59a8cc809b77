"""Variants of one bundle share their bytes: what a graph holds that lies in another's data file, it reads from there.

    HOME/model.data      as its exporter wrote it
    HOME/GUEST.onnx      another variant's graph beside it; equal tensors are places in that file

A runtime lets a graph read only what lies in its own folder, so the guest's graph moves. Nothing is linked: every
file of the bundle is a plain one with its own hash, and the data file is listed once and sent once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import onnx

from elsa_edge.bundle import Variant
from elsa_edge.bundle.instructions import Levels, Nested, Selector, Switch
from elsa_edge.files import write_bytes
from elsa_edge.graph.shared_data import initializers, place_of, refer

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
            saved = {name: _shared_bytes(graphs.values(), places) for name, places in known.items()}
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


def _large(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return what may be shared: a browser hands data files to the outer graph only, not to branches inside it."""
    return [t for t in proto.graph.initializer if len(t.raw_data) >= _SMALLEST_TENSOR_BYTES]


def _shared_bytes(graphs: Any, places: Mapping[str, _Place]) -> int:
    """Return how many bytes of graphs lie in a data file as well."""
    return sum(
        len(tensor.raw_data)
        for proto in graphs
        for tensor in _large(proto)
        if hashlib.sha256(tensor.raw_data).hexdigest() in places
    )


def _move(
    folder: Path,
    guest: Variant,
    graphs: Mapping[str, onnx.ModelProto],
    data: str,
    places: Mapping[str, _Place],
) -> Variant:
    """Write a variant's files beside a data file, with what lies there left out, and return it with its new paths."""
    home = PurePosixPath(data).parent
    moved = {path: str(home / _called(guest, path)) for path in dict.fromkeys(guest.files.values())}
    for path, proto in graphs.items():
        for tensor in initializers(proto.graph):
            own = place_of(tensor)
            if own is not None:
                refer(tensor, _called(guest, own.location), own.offset, own.length)
        for tensor in _large(proto):
            place = places.get(hashlib.sha256(tensor.raw_data).hexdigest())
            if place is not None:
                refer(tensor, PurePosixPath(data).name, place.offset, place.length)
        write_bytes(folder / moved[path], proto.SerializeToString())
        (folder / path).unlink()
    for path in set(moved) - set(graphs):
        (folder / path).rename(folder / moved[path])
    (folder / guest.name).rmdir()
    files = {role: moved[path] for role, path in guest.files.items()}
    return guest.model_copy(update={"files": {**files, _role_in(files): data}})


def _called(guest: Variant, path: str) -> str:
    """Return what a guest's file is called in another variant's folder: a single graph like the guest."""
    name = PurePosixPath(path).name
    return f"{guest.name}{_SUFFIX}" if name == f"model{_SUFFIX}" else f"{guest.name}.{name}"


def _role_in(files: Mapping[str, str]) -> str:
    """Return a role that is free for the data of another variant."""
    return _DATA if _DATA not in files else f"{_DATA}_of_another"
