"""Keep what a client's tests measured: JSON lines in, benchmarks/results/clients-NAME.json out, with the machine.

    python -m benchmarks.clients.collect NAME FOUND.jsonl

Lines that are no JSON object are the test program's words for people; they are shown and not kept.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.common import RESULTS, Claim, at_least, at_most, context

LARGEST_BYTES = 100_000
WRONG = "hostile bundles (of 1,500) that ran with other answers"
# The C++ client has no `verify` yet: a changed file whose hash was made to fit is run. Kept as not held.
KNOWN = {("cpp", WRONG)}


def claims_of(rows: list[dict[str, Any]]) -> list[Claim]:
    """Return what was to be reached, and what was."""
    found: dict[str, Any] = {}
    for row in rows:
        found |= row
    differences = [row["largest_relative_difference"] for row in rows if "largest_relative_difference" in row]
    refused = [row["refused"] for row in rows if row.get("hostile") == "unhashed"]
    wrong = [row["answers_wrong"] for row in rows if "answers_wrong" in row]
    return [
        at_least("steps of the controller compared with Python", 10_000, found.get("steps")),
        at_most("steps that differ", 0, found.get("different")),
        at_most("largest difference from golden outputs, relative", 1e-4, max(differences, default=None)),
        at_least("bundles with a changed file, refused (of 500)", 500, sum(refused) if refused else None),
        at_most(WRONG, 0, sum(wrong) if wrong else None),
        at_least("reasons of the controller that the steps show (of 15)", 15, found.get("reasons")),
        at_most("decision, mean in us", 5, found.get("decision_us")),
        at_most("code of the client in bytes, without the runtime", LARGEST_BYTES, found.get("code_bytes")),
    ]


@click.command()
@click.argument("name")
@click.argument("found", type=click.Path(exists=True, path_type=Path))
def main(name: str, found: Path) -> None:
    """Write the results of client NAME; fail where a claim does not hold."""
    lines = found.read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    for line in lines:
        click.echo(line)
    claims = claims_of(rows)
    kept = {
        "benchmark": f"clients-{name}",
        "context": context(),
        "rows": rows,
        "claims": [asdict(claim) for claim in claims],
    }
    (RESULTS / f"clients-{name}.json").write_text(json.dumps(kept, indent=2, allow_nan=False) + "\n")
    # What this client cannot do yet is kept as not held, and does not fail its tests.
    missed = [
        claim
        for claim in claims
        if not claim.holds and claim.measured is not None and (name, claim.claim) not in KNOWN
    ]
    for claim in missed:
        click.echo(f"Not reached: {claim.claim}: {claim.measured}, wanted {claim.target}", err=True)
    if missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
