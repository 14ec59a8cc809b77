"""What travels over ssh: a bundle, the same again, one level changed, level 0 alone. A minute of benchmarks.deploy."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.common import Claim, Result, Row, at_most, benchmark
from benchmarks.deploy_bench import LADDER, QUICK, Bench, opened_bench, silent, variation
from elsa_edge.deploy import deploy

__all__ = ["byte_claims", "main", "moved_rows"]


def moved_rows(bench: Bench) -> list[Row]:
    """Return what travels: at first, again unchanged, and after one level has changed."""
    device = bench.device(bench.folder / "store of bytes")
    rows: list[Row] = []
    changed = variation(bench.bundle, bench.folder / "changed", 1)
    for what, source in (
        ("first", bench.bundle),
        ("unchanged", bench.bundle),
        ("one level changed", changed),
    ):
        before = bench.wire.moved_bytes
        outcome = deploy(source, device, bench.profile, QUICK, tell=silent)
        level = (source / "ort-levels" / "level_0.onnx").stat().st_size
        rows.append(
            {"what": what, "on_the_line_bytes": bench.wire.moved_bytes - before,
             "files_bytes": outcome.moved_bytes,
             "changed_level_bytes": level, "state": outcome.state}
        )  # fmt: skip
    low = bench.profile.model_copy(
        update={"deploy": bench.profile.deploy.model_copy(update={"max_level": 0})}
    )
    before = bench.wire.moved_bytes
    outcome = deploy(bench.bundle, bench.device(bench.folder / "low"), low, QUICK, tell=silent)
    dense = (bench.bundle / "ort-levels" / f"level_{len(LADDER) - 1}.onnx").stat().st_size
    shared = bench.bundle / "ort-levels" / "shared.bin"
    dense += shared.stat().st_size if shared.exists() else 0
    rows.append(
        {"what": "max_level: 0", "on_the_line_bytes": bench.wire.moved_bytes - before,
         "files_bytes": outcome.moved_bytes,
         "changed_level_bytes": dense, "state": outcome.state}
    )  # fmt: skip
    return rows


def byte_claims(moved: list[Row]) -> list[Claim]:
    """Return the claims about what travels."""
    by = {row["what"]: row for row in moved}
    level, low = by["one level changed"], by["max_level: 0"]
    return [
        at_most("bytes on the line for an unchanged bundle", 64_000, by["unchanged"]["on_the_line_bytes"]),
        at_most("bytes on the line after one level changed / bytes of that level's file", 1.1,
                level["on_the_line_bytes"] / level["changed_level_bytes"]),
        at_most("bytes on the line for level 0 of a 95 % ladder / bytes of the dense file", 0.1,
                low["on_the_line_bytes"] / low["changed_level_bytes"]),
    ]  # fmt: skip


@benchmark("deploy-bytes")
def main(quick: bool) -> Result:  # noqa: ARG001 - every benchmark has it
    """Count what travels over ssh."""
    with (
        tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch,
        opened_bench(Path(scratch), "mlp") as bench,
    ):
        rows = moved_rows(bench)
    return Result(rows=rows, claims=byte_claims(rows))


if __name__ == "__main__":
    main()
