"""What a repair of minutes buys: `python -m benchmarks.repair [--quick] [--json] [--finished]`.

ResNet-14 trained on Fashion-MNIST, cut and repaired on 8192 training images without their labels; EfficientNet-Lite0
and MobileNetV2 on crops of photographs, judged on other photographs; R-Net and silero-vad. CPU seconds are of this
process, on one thread; wall seconds are beside them. Every finished repair is kept in `.cache/benchmarks/repair`, one
that was stopped goes on: the whole may run in the background, in pieces; `--finished` reports what there is. Rows of a
part of which no run is finished here stand as they were committed.
"""

from __future__ import annotations

from typing import Any, Final

import click
import torch

from benchmarks.common import Result, benchmark
from benchmarks.repair.claims import claims_of
from benchmarks.repair.imagenet import repaired_photographs
from benchmarks.repair.kept import Row, kept
from benchmarks.repair.runs import cut_resnet, repaired_resnet
from benchmarks.repair.small import repaired_rnet, repaired_silero
from benchmarks.repair.standing import standing
from benchmarks.repair.summary import fashion_table, seeds_table

Runs = tuple[dict[str, Any], ...]

SEEDS: Final = 3
# Cheapest first: a machine that stops early then leaves the most rows.
RESNET: Final[Runs] = (
    {"mode": "tables", "ladder": (0.95, 0.9, 0.0), "granularity": "unstructured", "steps": 200},
    {"mode": "weights", "ladder": (0.95, 0.9, 0.0), "granularity": "unstructured", "steps": 200},
    {"mode": "tables", "ladder": (0.9, 0.0), "granularity": "1x4", "steps": 200},
    {"mode": "weights", "ladder": (0.9, 0.0), "granularity": "1x4", "steps": 200},
)
# Judged on images that neither the network nor the levels were trained on: by these a default is to be chosen.
CHOICES: Final[Runs] = (
    {"mode": "tables", "rate": 0.05},
    {"mode": "tables", "rate": 0.1},
    {"mode": "tables", "rate": 0.2},
    {"mode": "weights", "rate": 0.02},
    {"mode": "weights", "rate": 0.03},
    {"mode": "weights", "rate": 0.06},
)
_CHOOSING: Final[dict[str, Any]] = {
    "ladder": (0.95, 0.0),
    "granularity": "unstructured",
    "seed": 100,
    "steps": 100,
    "judge": "validation",
}
PHOTOGRAPHS: Final[Runs] = tuple(
    {"network": network, "mode": mode, "ladder": ladder, "steps": 12, "batch_size": 16}
    for network in ("EfficientNet-Lite0", "MobileNetV2")
    for mode, ladder in (("tables", (0.8, 0.7, 0.5, 0.0)), ("weights", (0.8, 0.7, 0.5)))
)


def _small(finished: bool) -> list[Row]:
    rows = []
    for make, ladder in (
        (repaired_rnet, (0.9, 0.8, 0.5)),
        (repaired_silero, (0.8, 0.7, 0.5)),
        # as cut it still knows nearly everything at 90 %
        (repaired_rnet, (0.98, 0.95)),
    ):
        for mode in ("tables", "weights"):
            for seed in range(SEEDS):
                rows += kept(make, finished=finished, mode=mode, ladder=ladder, seed=seed)
    return seeds_table(rows)


def _fashion(finished: bool) -> tuple[list[Row], list[Row]]:
    """Return the table over seeds, and the rows by which settings were chosen."""
    choices = [row for run in CHOICES for row in kept(repaired_resnet, finished=finished, **run, **_CHOOSING)]
    cuts: list[Row] = []
    for run in RESNET[::2]:
        facts: dict[str, Any] = {name: run[name] for name in ("ladder", "granularity")}
        cuts += kept(cut_resnet, finished=finished, **facts)
    rows: list[Row] = []
    for seed in range(SEEDS):
        for run in RESNET:
            rows += kept(repaired_resnet, finished=finished, **run, seed=seed)
    chosen = [
        {
            "chosen on": "validation",
            "mode": row["mode"],
            "rate": row["rate"],
            "sparsity": row["sparsity"],
            "steps": row["asked_steps"],
            "accuracy": round(100.0 * row["repaired"], 2),
        }
        for row in choices
        if row["sparsity"] > 0.0
    ]
    return fashion_table(rows, cuts), chosen


@benchmark(
    "repair",
    click.option(
        "--finished",
        is_flag=True,
        help="Report the runs that are finished; what is missing counts as not measured.",
    ),
    click.option(
        "--part",
        type=click.Choice(["all", "fashion", "photographs", "small"]),
        default="all",
        help="Run only this.",
    ),
)
def main(quick: bool, finished: bool, part: str) -> Result:
    """Repair levels of trained networks on unlabelled inputs and compare with the dense networks."""
    torch.set_num_threads(1)
    if quick:
        return Result(rows=seeds_table(kept(repaired_rnet, mode="tables", ladder=(0.8,), seed=0)))
    small = _small(finished or part not in ("all", "small"))
    photographs: list[Row] = []
    for run in PHOTOGRAPHS:
        photographs += kept(
            repaired_photographs, finished=finished or part not in ("all", "photographs"), **run
        )
    table, chosen = _fashion(finished or part not in ("all", "fashion"))
    fashion = [*table, *chosen] or standing("fashion")
    photographs = photographs or standing("photographs")
    table = [row for row in fashion if "network" in row]
    return Result(
        rows=[*fashion, *photographs, *(small or standing("small"))],
        claims=claims_of(table, photographs),
    )


if __name__ == "__main__":
    main()
