"""`python -m benchmarks.real accuracy|onnx`: a result for each is kept in benchmarks/results."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.common import Claim, Result, at_least, at_most, benchmark


@click.group()
def main() -> None:
    """Two benchmarks of trained networks that packages carry."""


def _accuracy(quick: bool) -> Result:
    """Return accuracy per level in torch, in the graph and in every variant; quick: R-Net alone."""
    from benchmarks.real.accuracy import CASES, accuracies

    rows = []
    for name, case in list(CASES.items())[: 1 if quick else None]:
        with tempfile.TemporaryDirectory(prefix="elsa-real-") as folder:
            rows.append(accuracies(name, case, Path(folder)))
    unequal = sum(not row["equal"] for row in rows)
    return Result(rows, [at_most("networks whose forms differ in accuracy at any level", 0, unequal)])


def _onnx(quick: bool) -> Result:
    """Return the differences of each level of ONNX files to the file; quick: the two small ones."""
    from benchmarks.real.onnx_files import FILES, levels_of_file

    rows = []
    for name, file in list(FILES.items())[-2 if quick else None :]:
        with tempfile.TemporaryDirectory(prefix="elsa-real-") as folder:
            rows.append(levels_of_file(name, file, Path(folder)))
    worst = max(difference for row in rows for difference in row["difference_per_level"])
    unverified = sum(not row["verified"] for row in rows)
    claims: list[Claim] = [
        at_most("largest difference of a level to the file with masked weights, relative", 1e-4, worst),
        at_most("bundles of ONNX files that do not verify", 0, unverified),
        at_least("files measured", 7, len(rows)),
    ]
    return Result(rows, claims)


main.add_command(benchmark("real-accuracy")(_accuracy), "accuracy")
main.add_command(benchmark("real-onnx")(_onnx), "onnx")


if __name__ == "__main__":
    main()
