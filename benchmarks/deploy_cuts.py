"""Of benchmarks.deploy only the interruptions, as many as there is time for; the whole makes fifty."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.common import Result, benchmark
from benchmarks.deploy import cut_claims, interruptions, opened_bench
from benchmarks.sshd import SSHD

__all__ = ["main"]


@benchmark("deploy-cuts", click.option("--count", type=click.IntRange(1), default=50, show_default=True))
def main(quick: bool, count: int) -> Result:
    """Cut deployments over ssh at random bytes of their conversation, by either side, the line or a full disk."""
    if SSHD is None:
        raise RuntimeError("this needs sshd (Debian: apt-get install openssh-server)")
    with (
        tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch,
        opened_bench(Path(scratch), "mlp") as bench,
    ):
        rows = interruptions(bench, 4 if quick else count)
    return Result(rows=rows, claims=cut_claims(rows))


if __name__ == "__main__":
    main()
