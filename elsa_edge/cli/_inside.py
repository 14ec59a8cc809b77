"""What `elsa-edge inspect` tells people of what is inside: tables, the most asked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from elsa_edge.cli._common import print_table, show
from elsa_edge.cli._differences import leaves

__all__ = ["show_inside"]

_MOST_FACTS: Final = 40
_LONGEST_FACT: Final = 160


def show_inside(result: Mapping[str, Any]) -> None:
    """Print what is inside for a person."""
    show(result["headline"])
    for sentence in result.get("not_proved", ()):
        show(f"not proved: {sentence}")
    for what in ("inputs", "outputs"):
        for spec in result.get(what, ()):
            shape = "x".join("N" if size is None else str(size) for size in spec["shape"])
            show(f"{what[:-1]} {spec['name']}: {shape} {spec['dtype']}")
    if "variants" in result:
        _show_variants(result["variants"])
        _show_float_layers(result["variants"])
    levels = result["levels"]
    print_table(
        "Levels",
        ("level", "sparsity", "density", "FLOPs", "accuracy"),
        [
            (f"{r['level']} {r['name']}", r["sparsity"], r["density"], r["flops_fraction"], r["accuracy"])
            for r in levels
        ],
    )
    if result.get("layers"):
        print_table(
            "Nested weights: density at each level",
            ("weight", "shape", *(level["name"] for level in levels)),
            [(r["name"], "x".join(map(str, r["shape"])), *r["densities"]) for r in result["layers"]],
        )
    options = {v["name"]: _options(v["instructions"]) for v in result.get("variants", ())}
    _show_facts("Options of the variants", options)
    _show_facts("Versions", result.get("versions", {}))
    _show_facts("Provenance", result["provenance"])


def _show_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print what is known as a table of places and values; long ones and long lists are for `--json`."""
    found = [(place, value) for place, value in leaves(facts).items() if value not in (None, "", [], {})]
    if not found:
        return
    rows = [(place, str(value)[:_LONGEST_FACT]) for place, value in found[:_MOST_FACTS]]
    if len(found) > len(rows):
        rows.append((f"and {len(found) - len(rows)} more", "with --json"))
    print_table(title, ("what", "value"), rows)


def _options(instructions: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an exporter told its adapter; of lists of names per level, how many there are."""
    return {
        key: f"{', '.join(str(len(names)) for names in value)} (how many at each level)"
        if isinstance(value, list) and value and all(isinstance(names, list) for names in value)
        else value
        for key, value in instructions.items()
    }


def _show_variants(variants: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        "Variants",
        (
            "variant",
            "runtime",
            "precision",
            "files",
            "MB",
            "MB shared",
            "tolerance",
            "8-bit weights",
            "8-bit multiply-adds",
        ),
        [
            (
                v["name"],
                v["runtime"],
                v["precision"],
                len(v["files"]),
                v["size_bytes"] / 1e6,
                v["shared_bytes"] / 1e6,
                v["relative_tolerance"],
                *(_least_share(v["notes"].get(key)) for key in ("int8_weights", "int8_multiply_adds")),
            )
            for v in variants
        ],
    )


def _show_float_layers(variants: Sequence[Mapping[str, Any]]) -> None:
    """Print which layers of a variant with fewer bits stay float32, and why."""
    rows = [
        (variant["name"], layer, str(reason)[:_LONGEST_FACT])
        for variant in variants
        if isinstance(floats := variant["notes"].get("float_layers"), Mapping)
        for layer, reason in floats.items()
    ]
    if rows:
        print_table("Layers that stay float32", ("variant", "layer", "why"), rows)


def _least_share(shares: object) -> str | None:
    """Return the share of the level that has least in 8 bits, as exporters write it into their notes."""
    if (
        not isinstance(shares, list)
        or not all(isinstance(share, (int, float)) for share in shares)
        or not shares
    ):
        return None
    return f"{min(shares):.0%}"
