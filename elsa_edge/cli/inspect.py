"""`elsa-edge inspect`: what is inside a nested checkpoint, a canonical graph or a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elsa_edge.cli._common import emit, json_option, print_table, say
from elsa_edge.errors import ElsaError

if TYPE_CHECKING:
    from elsa_edge.levels import Ladder, LevelIndex
    from elsa_edge.tensors import TensorSpec

__all__ = ["command"]


@click.command(name="inspect", epilog="Example: elsa-edge inspect bundle/")
@click.argument("path", metavar="MODEL_OR_BUNDLE", type=click.Path(path_type=Path))
@json_option
def command(*, path: Path, as_json: bool) -> None:
    """Say what is inside a nested checkpoint (.safetensors), a canonical graph (.onnx) or a bundle (a folder)."""
    if path.is_dir():
        result = _bundle(path)
    elif not path.exists():
        raise ElsaError(f"There is nothing at {path}", expected="a .safetensors, an .onnx or a bundle")
    elif path.suffix == ".onnx":
        result = _canonical(path)
    elif path.suffix == ".safetensors":
        result = _checkpoint(path)
    else:
        raise ElsaError(
            f"{path} is of an unknown kind", expected="a .safetensors, an .onnx or a bundle (a folder)"
        )
    emit(result, as_json=as_json)


def _levels(ladder: Ladder) -> list[dict[str, Any]]:
    rows = [
        {
            "level": k,
            "name": level.name,
            "sparsity": level.sparsity,
            "density": level.density,
            "flops_fraction": level.flops_fraction,
            "accuracy": level.accuracy,
        }
        for k, level in enumerate(ladder)
    ]
    print_table(
        "Levels",
        ("level", "sparsity", "density", "FLOPs", "accuracy"),
        [
            (f"{r['level']} {r['name']}", r["sparsity"], r["density"], r["flops_fraction"], r["accuracy"])
            for r in rows
        ],
    )
    return rows


def _layers(indices: Mapping[str, LevelIndex], ladder: Ladder) -> list[dict[str, Any]]:
    """Return, and show, the density of every nested weight at every level."""
    from elsa_edge.levels import densities_by_weight

    rows = [
        {"name": name, "shape": list(indices[name].shape), "densities": list(densities)}
        for name, densities in densities_by_weight(indices, len(ladder)).items()
    ]
    print_table(
        "Nested weights: density at each level",
        ("weight", "shape", *(level.name for level in ladder)),
        [(r["name"], "x".join(map(str, r["shape"])), *r["densities"]) for r in rows],
    )
    return rows


def _tensors(specs: Mapping[str, TensorSpec], what: str) -> list[dict[str, Any]]:
    for spec in specs.values():
        say(f"{what} {spec}")
    return [{"name": s.name, "shape": list(s.shape), "dtype": s.dtype} for s in specs.values()]


def _checkpoint(path: Path) -> dict[str, Any]:
    from elsa_edge.checkpoint import NestedCheckpoint

    checkpoint = NestedCheckpoint.load(path)
    ladder = checkpoint.ladder.measured(densities=checkpoint.densities)
    parameters = sum(array.size for array in checkpoint.weights.values())
    say(f"{path}: nested checkpoint, {parameters} numbers, {len(checkpoint.indices)} nested weights")
    return {
        "kind": "nested checkpoint",
        "path": str(path),
        "parameters": parameters,
        "levels": _levels(ladder),
        "layers": _layers(checkpoint.indices, ladder),
        "tables": sorted(checkpoint.tables),
        "provenance": dict(checkpoint.provenance),
    }


def _canonical(path: Path) -> dict[str, Any]:
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.check import check_contract

    graph = check_contract(CanonicalGraph.load(path))
    operators: dict[str, int] = {}
    for node in graph.model.graph.all_nodes():
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    say(f"{path}: canonical graph, contract holds, {len(graph.nested)} nested weights")
    return {
        "kind": "canonical graph",
        "path": str(path),
        "inputs": _tensors(graph.inputs, "input"),
        "outputs": _tensors(graph.outputs, "output"),
        "levels": _levels(graph.ladder),
        "layers": _layers({name: graph.index(name) for name in graph.nested}, graph.ladder),
        "tables": list(graph.tables),
        "operators": dict(sorted(operators.items())),
        "provenance": dict(graph.provenance),
    }


def _bundle(path: Path) -> dict[str, Any]:
    from elsa_edge.bundle import open_bundle

    bundle = open_bundle(path)
    manifest = bundle.manifest
    size_bytes = sum(entry.size_bytes for entry in manifest.files)
    say(f"{path}: bundle {manifest.name} for {manifest.device}, {size_bytes / 1e6:.2f} MB, hashes are right")
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    variants = [
        {
            "name": variant.name,
            "runtime": variant.runtime,
            "files": dict(variant.files),
            "size_bytes": sum(sizes[file] for file in set(variant.files.values())),
            "instructions": variant.instructions.model_dump(mode="json"),
            "notes": dict(variant.notes),
            "relative_tolerance": variant.relative_tolerance,
            "level_bytes": list(variant.level_bytes),
        }
        for variant in manifest.variants
    ]
    _show_variants(variants)
    return {
        "kind": "bundle",
        "path": str(path),
        "name": manifest.name,
        "device": manifest.device,
        "identity": bundle.identity,
        "size_bytes": size_bytes,
        "inputs": _tensors(bundle.inputs, "input"),
        "outputs": _tensors(bundle.outputs, "output"),
        "levels": _levels(bundle.ladder),
        "variants": variants,
        "versions": dict(manifest.versions),
        "provenance": dict(manifest.provenance),
    }


def _show_variants(variants: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        "Variants",
        ("variant", "runtime", "files", "MB", "tolerance", "8-bit weights", "8-bit multiply-adds"),
        [
            (
                v["name"],
                v["runtime"],
                len(v["files"]),
                v["size_bytes"] / 1e6,
                v["relative_tolerance"],
                *(_least_share(v["notes"].get(key)) for key in ("int8_weights", "int8_multiply_adds")),
            )
            for v in variants
        ],
    )


def _least_share(shares: object) -> str | None:
    """Return the share of the level that has least in 8 bits, as exporters write it into their notes."""
    if (
        not isinstance(shares, list)
        or not all(isinstance(share, (int, float)) for share in shares)
        or not shares
    ):
        return None
    return f"{min(shares):.0%}"
