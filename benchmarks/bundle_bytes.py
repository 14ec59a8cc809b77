"""Bytes of default bundles over their dense float32 networks, and whether shared data costs time when it is opened.

    default variants     all files but golden answers, profile and manifest, which no variant reads
    dense                the same network exported by torch, in one ONNX file
    opening              `ort-switch` folded anew and from a warm cache, over the same variant in a bundle of its own

The largest network is built in a process of its own that takes 4 GB and minutes; `--network` measures some, and keeps
the rows of the others.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.common import Result, Row, at_most, benchmark, interleaved, median_ms, parts_option, ratio
from benchmarks.common.prepare import Prepared, prepare
from benchmarks.int8.kept import cpu, rows_kept
from elsa_edge.build import build_bundle
from elsa_edge.bundle import Bundle, open_bundle
from elsa_edge.loading import open_adapter
from elsa_edge.profiles import load_profile

__all__ = ["main", "measured", "size_row"]

_NETS: Final = ("digits", "mobilenet_v2", "resnet18", "vit_b_16")
_MOST: Final = 1.3
_SLOWER: Final = 1.05
_DEVICE: Final = "generic-x86-64"


def size_row(bundle: Bundle, dense_bytes: int) -> Row:
    """Return the bytes of a bundle's variants; of a file that several read, once."""
    sizes = {entry.path: entry.size_bytes for entry in bundle.manifest.files}
    paths = {variant.name: set(variant.files.values()) for variant in bundle.manifest.variants}
    every = set().union(*paths.values())
    read_by = {path: sum(path in own for own in paths.values()) for path in every}
    return {
        "variants": " + ".join(paths),
        "dense_bytes": dense_bytes,
        "variant_bytes": sum(sizes[path] for path in every),
        "shared_bytes": sum(sizes[path] for path, readers in read_by.items() if readers > 1),
        "bundle_bytes": sum(sizes.values()),
        "over_dense": sum(sizes[path] for path in every) / dense_bytes,
    }


def measured(made: Prepared, folder: Path, rounds: int) -> Row:
    """Build the default bundle of a network, and weigh and time it."""
    bundle = build_bundle(made.canonical, _DEVICE, folder / "default")
    row: Row = {"network": made.name, "cpu": cpu()} | size_row(bundle, made.plain.stat().st_size)
    names = [variant.name for variant in bundle.manifest.variants]
    if "ort-switch" not in names or len(names) == 1:
        return row
    alone = build_bundle(made.canonical, _DEVICE, folder / "alone", variants=["ort-switch"])
    for what, cache in (("folded", None), ("cached", folder / "cache")):
        times = interleaved(
            {"shared": partial(_open, bundle, cache), "alone": partial(_open, alone, cache)}, rounds=rounds
        )
        row[f"open_{what}_ms"] = median_ms(times["shared"])
        row[f"open_{what}_alone_ms"] = median_ms(times["alone"])
        row[f"open_{what}_over_alone"] = ratio(times["shared"], times["alone"]).value
    return row


def _open(bundle: Bundle, cache: Path | None) -> None:
    """Open `ort-switch` as a session does, hashes included, and close it."""
    checked = open_bundle(bundle.folder)
    variant = checked.manifest.variant("ort-switch")
    open_adapter(checked, variant, load_profile(_DEVICE), cache).close()


@benchmark("bundle_bytes", parts_option("network", _NETS))
def main(quick: bool, networks: tuple[str, ...]) -> Result:
    """Weigh default bundles; quick: of the smallest network."""
    rows: list[Row] = []
    for name in networks or (_NETS[:1] if quick else _NETS):
        with tempfile.TemporaryDirectory(prefix="elsa-bytes-") as scratch:
            rows.append(measured(prepare(name, Path(scratch)), Path(scratch), 2 if quick else 7))
    if not quick:
        rows = rows_kept("bundle_bytes", ("network",), rows) + rows
    claims = [
        at_most(f"{row['network']}: bytes of {row['variants']} over dense float32", _MOST, row["over_dense"])
        for row in rows
    ]
    claims += [
        at_most(
            f"{row['network']}: opening ort-switch with shared data over alone, {what}",
            _SLOWER,
            row[f"open_{what}_over_alone"],
        )
        for row in rows
        for what in ("folded", "cached")
        if f"open_{what}_over_alone" in row
    ]
    return Result(rows, claims)


if __name__ == "__main__":
    main()
