"""Deployments that are cut anywhere, counted on the line, rolled out to 200 stand-ins, and attacked.

The device is a folder of this machine behind a real sshd on loopback (the fleet: folders without one); what travels is
counted by a forwarder in between, with everything that ssh adds. Times are of this machine and no claim.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.common import Claim, Result, Row, at_least, at_most, benchmark, in_subprocess
from benchmarks.deploy_attacks import attacks
from benchmarks.deploy_bench import opened_bench
from benchmarks.deploy_bytes import byte_claims, moved_rows
from benchmarks.deploy_cuts import cut_claims, interruptions, kept_option
from benchmarks.stand_ins import FAILING

__all__ = ["main"]


@benchmark("deploy", kept_option)
def main(quick: bool, kept: Path | None) -> Result:
    """Cut deployments, count bytes, roll out to 200 stand-ins, attack."""
    with (
        tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch,
        opened_bench(Path(scratch), "mlp") as bench,
    ):
        moved = moved_rows(bench)
        refused = attacks(bench)
        stand_ins = in_subprocess(
            "benchmarks.stand_ins:fleet", str(bench.bundle), str(bench.folder / "fleet"), 20 if quick else 200
        )
        cuts = interruptions(bench, 4 if quick else 50, kept)
    return Result(
        rows=[*moved, *refused, stand_ins, *cuts], claims=_claims(moved, refused, stand_ins, cuts, quick)
    )


def _claims(
    moved: list[Row], refused: list[Row], fleet_row: Row, cuts: list[Row], quick: bool
) -> list[Claim]:
    count = 20 if quick else 200
    return [
        *cut_claims(cuts),
        *byte_claims(moved),
        at_least("attacks that the device refused by itself", len(refused),
                 sum(row["refused_there"] for row in refused)),
        at_most("peak memory here of a roll-out to the stand-ins, MB", 200, fleet_row["peak_mb"]),
        at_least("stand-ins that serve after the patient roll-out", count - count // FAILING, fleet_row["serving"]),
        at_most("wave after which the strict roll-out stopped", 3, fleet_row["stopped_after_wave"]),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
