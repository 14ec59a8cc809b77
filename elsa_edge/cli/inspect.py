"""`elsa-edge inspect`: what is inside a nested checkpoint, a canonical graph or a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elsa_edge.cli._common import emit, json_option, print_table, refuse_existing
from elsa_edge.cli._differences import differences
from elsa_edge.cli._inside import show_inside
from elsa_edge.errors import ElsaError, UsageError

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.levels import Ladder, LevelIndex
    from elsa_edge.tensors import TensorSpec

__all__ = ["command"]


@click.command(name="inspect", epilog="Example: elsa-edge inspect bundle/ --diff older-bundle/")
@click.argument("path", metavar="MODEL_OR_BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--diff",
    "other",
    metavar="OTHER",
    type=click.Path(path_type=Path),
    help="Say what is different in OTHER, of the same kind, instead of what is inside.",
)
@click.option(
    "--viewer",
    metavar="FILE.onnx",
    type=click.Path(path_type=Path),
    help="Also write a canonical graph for Netron or Model Explorer: each nested weight is one node.",
)
@json_option
def command(*, path: Path, other: Path | None, viewer: Path | None, as_json: bool) -> None:
    """Say what is inside a nested checkpoint (.safetensors), a canonical graph (.onnx) or a bundle (a folder)."""
    if viewer is not None:
        refuse_existing(viewer)
    result, graph = _describe(path)
    if viewer is not None:
        _write_for_viewers(graph, result["kind"], viewer)
    if other is None:
        show_inside(result)
        emit(result, as_json=as_json)
        return
    second, _ = _describe(other)
    if second["kind"] != result["kind"]:
        raise ElsaError(
            "Two things of different kinds cannot be compared",
            expected=f"{other} to be a {result['kind']} like {path}",
            found=f"a {second['kind']}",
        )
    found = differences(_comparable(result), _comparable(second))
    print_table(f"{path} and {other}: {len(found)} differences", ("what", str(path), str(other)), found)
    emit(
        {
            "kind": result["kind"],
            "paths": [str(path), str(other)],
            "same": not found,
            "differences": [{"what": what, "first": first, "second": then} for what, first, then in found],
        },
        as_json=as_json,
    )


def _write_for_viewers(graph: CanonicalGraph | None, kind: str, destination: Path) -> None:
    if graph is None:
        raise UsageError("Viewers are for graphs", expected="a canonical graph (.onnx)", found=f"a {kind}")
    import onnx_ir as ir

    from elsa_edge.files import atomic_file
    from elsa_edge.graph.viewing import for_viewers

    model = for_viewers(graph)
    with atomic_file(destination) as temporary:
        ir.save(model, temporary)


def _comparable(result: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what differs by nature: the path, and the sentence with the path in it."""
    return {key: value for key, value in result.items() if key not in ("path", "headline")}


def _describe(path: Path) -> tuple[dict[str, Any], CanonicalGraph | None]:
    """Return what is inside, and the graph where it is one.

    Raises:
        ElsaError: When there is nothing, or something of another kind, or it is damaged.
    """
    if path.is_dir():
        return _bundle(path), None
    if not path.exists():
        raise ElsaError(f"There is nothing at {path}", expected="a .safetensors, an .onnx or a bundle")
    if path.suffix == ".onnx":
        return _canonical(path)
    if path.suffix == ".safetensors":
        return _checkpoint(path), None
    raise ElsaError(
        f"{path} is of an unknown kind", expected="a .safetensors, an .onnx or a bundle (a folder)"
    )


def _levels(ladder: Ladder) -> list[dict[str, Any]]:
    return [{"level": number, **asdict(level)} for number, level in enumerate(ladder)]


def _layers(indices: Mapping[str, LevelIndex], ladder: Ladder) -> list[dict[str, Any]]:
    """Return the density of every nested weight at every level."""
    from elsa_edge.levels import densities_by_weight

    return [
        {"name": name, "shape": list(indices[name].shape), "densities": list(densities)}
        for name, densities in densities_by_weight(indices, len(ladder)).items()
    ]


def _tensors(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": s.name, "shape": list(s.shape), "dtype": s.dtype} for s in specs.values()]


def _checkpoint(path: Path) -> dict[str, Any]:
    from elsa_edge.checkpoint import NestedCheckpoint

    checkpoint = NestedCheckpoint.load(path)
    ladder = checkpoint.ladder.measured(densities=checkpoint.densities)
    parameters = sum(array.size for array in checkpoint.weights.values())
    headline = f"{path}: nested checkpoint, {parameters} numbers, {len(checkpoint.indices)} nested weights"
    return {
        "kind": "nested checkpoint",
        "headline": headline,
        "path": str(path),
        "parameters": parameters,
        "levels": _levels(ladder),
        "layers": _layers(checkpoint.indices, ladder),
        "tables": sorted(checkpoint.tables),
        "provenance": dict(checkpoint.provenance),
    }


def _canonical(path: Path) -> tuple[dict[str, Any], CanonicalGraph]:
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.check import check_contract

    graph = check_contract(CanonicalGraph.load(path))
    operators: dict[str, int] = {}
    for node in graph.model.graph.all_nodes():
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    headline = f"{path}: canonical graph, contract holds, {len(graph.nested)} nested weights"
    return {
        "kind": "canonical graph",
        "headline": headline,
        "path": str(path),
        "inputs": _tensors(graph.inputs),
        "outputs": _tensors(graph.outputs),
        "levels": _levels(graph.ladder),
        "layers": _layers({name: graph.index(name) for name in graph.nested}, graph.ladder),
        "tables": list(graph.tables),
        "operators": dict(sorted(operators.items())),
        "provenance": dict(graph.provenance),
    }, graph


def _bundle(path: Path) -> dict[str, Any]:
    from elsa_edge.bundle import open_bundle
    from elsa_edge.report.gather import layers_of, precision_of

    bundle = open_bundle(path)
    manifest = bundle.manifest
    size_bytes = sum(entry.size_bytes for entry in manifest.files)
    headline = (
        f"{path}: bundle {manifest.name} for {manifest.device}, {size_bytes / 1e6:.2f} MB, hashes are right"
    )
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    readers = Counter(path for variant in manifest.variants for path in set(variant.files.values()))
    variants = [
        {
            "name": variant.name,
            "runtime": variant.runtime,
            "precision": precision_of(variant.name),
            "files": dict(variant.files),
            "size_bytes": sum(sizes[file] for file in set(variant.files.values())),
            "shared_bytes": sum(sizes[file] for file in set(variant.files.values()) if readers[file] > 1),
            "instructions": variant.instructions.model_dump(mode="json"),
            "notes": dict(variant.notes),
            "relative_tolerance": variant.relative_tolerance,
            "level_bytes": list(variant.level_bytes),
        }
        for variant in manifest.variants
    ]
    return {
        "kind": "bundle",
        "headline": headline,
        "path": str(path),
        "name": manifest.name,
        "device": manifest.device,
        "identity": bundle.identity,
        "size_bytes": size_bytes,
        "inputs": _tensors(bundle.inputs),
        "outputs": _tensors(bundle.outputs),
        "levels": _levels(bundle.ladder),
        "layers": [
            {"name": layer.name, "shape": list(layer.shape), "densities": list(layer.densities)}
            for layer in layers_of(manifest)
        ],
        "not_proved": list(manifest.not_proved),
        "variants": variants,
        "versions": dict(manifest.versions),
        "provenance": {key: value for key, value in manifest.provenance.items() if key != "layers"},
    }
