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
_ROOT = Path(__file__).resolve().parents[2]
# Each with a row of what was wrong and what was said.
BAD_INPUT = {"cpp": 4, "java": 8, "web": 2, "arm": 9}


# What is run in Chromium: three variants, on one thread and on two.
IN_CHROMIUM = 6
# What is run under emulation: four variants, with pages of 4 and of 16 KB.
EMULATED = 8
PAGE_BYTES = 16384


def claims_of(name: str, rows: list[dict[str, Any]]) -> list[Claim]:
    """Return what the client NAME was to reach, and what it reached."""
    differences = [row["largest_relative_difference"] for row in rows if "largest_relative_difference" in row]
    golden = at_most("largest difference from golden outputs, relative", 1e-4, max(differences, default=None))
    said = [row for row in rows if row.get("said")]
    bad_input = at_least("kinds of bad input that get a sentence with a remedy", BAD_INPUT[name], len(said))
    if name == "arm":
        return [golden, bad_input, *kernel_claims(rows)]
    found: dict[str, Any] = {}
    for row in rows:
        found |= row
    refused = [row["refused"] for row in rows if row.get("hostile") == "unhashed"]
    wrong = [row["answers_wrong"] for row in rows if "answers_wrong" in row]
    claims = [
        at_least("steps of the controller compared with Python", 10_000, found.get("steps")),
        at_most("steps that differ", 0, found.get("different")),
        at_least("reasons of the controller that the steps show (of 15)", 15, found.get("reasons")),
        golden,
        at_least("bundles with a changed file, refused (of 500)", 500, sum(refused) if refused else None),
        at_most("hostile bundles (of 1,500) that ran with other answers", 0, sum(wrong) if wrong else None),
        at_most("decision, mean in us", 5, found.get("decision_us")),
        at_most("code of the client in bytes, without the runtime", LARGEST_BYTES, found.get("code_bytes")),
        bad_input,
    ]
    if name == "web":
        shown = sum(row.get("browser") == "chromium" for row in rows)
        claims.append(at_least("golden outputs in Chromium: variants times threads", IN_CHROMIUM, shown))
    return claims


def kernel_claims(rows: list[dict[str, Any]]) -> list[Claim]:
    """Return what the kernels for Android were to reach."""
    kernels = next((row for row in rows if "kernels" in row), {})
    needed = kernels.get("needed")
    variants = sum("variant" in row for row in rows)
    return [
        at_least("golden outputs with Android's kernels: variants times sizes of pages", EMULATED, variants),
        at_least("alignment of Android's kernels in bytes", PAGE_BYTES, kernels.get("aligned_bytes")),
        at_most("libraries they need beside libc.so", 0, None if needed is None else len({*needed} - {"libc.so"})),
        at_most(
            "symbols they need that are not known of Android", 0,
            len(kernels["not_in_android"]) if kernels else None,
        ),
    ]  # fmt: skip


@click.command()
@click.argument("name", type=click.Choice(list(BAD_INPUT)))
@click.argument("found", type=click.Path(exists=True, path_type=Path))
def main(name: str, found: Path) -> None:
    """Write the results of client NAME; fail where a claim does not hold."""
    lines = found.read_text().splitlines()
    # Where the checkout lies says nothing about a client.
    rows = [json.loads(line.replace(f"{_ROOT}/", "")) for line in lines if line.startswith("{")]
    for line in lines:
        click.echo(line)
    claims = claims_of(name, rows)
    kept = {
        "benchmark": f"clients-{name}",
        "context": context(),
        "rows": rows,
        "claims": [asdict(claim) for claim in claims],
    }
    (RESULTS / f"clients-{name}.json").write_text(json.dumps(kept, indent=2, allow_nan=False) + "\n")
    missed = [claim for claim in claims if not claim.holds]
    for claim in missed:
        click.echo(f"Not reached: {claim.claim}: {claim.measured}, wanted {claim.target}", err=True)
    if missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
