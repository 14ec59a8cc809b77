"""Of benchmarks.deploy only the bytes on the line: a minute, where the whole takes an hour on a busy machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.common import Result, benchmark
from benchmarks.deploy import byte_claims, moved_rows, opened_bench
from benchmarks.sshd import SSHD

__all__ = ["main"]


@benchmark("deploy-bytes")
def main(quick: bool) -> Result:  # noqa: ARG001 - every benchmark has it
    """Count what travels over ssh: a bundle, the same again, one level changed, level 0 alone."""
    if SSHD is None:
        raise RuntimeError("this needs sshd (Debian: apt-get install openssh-server)")
    with (
        tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch,
        opened_bench(Path(scratch), "mlp") as bench,
    ):
        rows = moved_rows(bench)
    return Result(rows=rows, claims=byte_claims(rows))


if __name__ == "__main__":
    main()
