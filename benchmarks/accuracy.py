"""Accuracy of every method, with seeds and intervals: `python -m benchmarks.accuracy [--quick] [--full] [--json]`.

Every finished training is kept in `.cache/benchmarks/accuracy.jsonl`, so a run that was stopped goes on with
the next one. Tables also go to `results/accuracy.csv`, a picture to `results/accuracy.png`. Intervals are 95
% of the mean over seeds (Student's t).
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import torch

from benchmarks.accuracy_runs import (
    EXPERIMENTS,
    SETTINGS,
    Row,
    Setting,
    fresh,
    optimizer_of,
    task_of,
)
from benchmarks.common import RESULTS, Claim, Result, at_least, at_most, benchmark, interleaved, ratio
from elsa_edge.files import write_bytes
from elsa_edge.training import ASNI, GradualMagnitude, elsa_stages
from elsa_edge.training.task import call_model

KEPT: Final = Path(__file__).parent.parent / ".cache" / "benchmarks" / "accuracy.jsonl"
# experiment, setting, seeds
PLAN: Final = (
    ("elsa", "cnn", 3),
    ("asni", "dense-digits", 3),
    ("multilevel", "digits", 3),
    ("halo", "cnn-half", 3),
    ("elsa", "graph", 3),
    ("granularity", "cnn-half", 2),
    ("inits", "graph", 1),
)
FULL: Final = (*PLAN, ("elsa", "cnn-full", 3), ("multilevel", "cnn-full", 3), ("granularity", "cnn-full", 3))
# Two-sided 95 % points of Student's t for n - 1 degrees of freedom.
_T: Final = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}


def _key(experiment: str, setting: Setting, seed: int) -> str:
    text = json.dumps([experiment, dataclasses.asdict(setting), seed])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kept_lines() -> list[str]:
    return KEPT.read_text().splitlines() if KEPT.is_file() else []


def _run(experiment: str, name: str, seed: int, *, quick: bool) -> list[Row]:
    """Return the rows of one experiment and seed, from the file of finished ones where they are there."""
    setting = SETTINGS[name]
    if quick:
        setting = dataclasses.replace(
            setting, epochs=1, data=setting.data.replace(":fashion", ":fashion_small")
        )
        setting = dataclasses.replace(setting, data=setting.data.replace("_small_half", "_small"))
    key = _key(experiment, setting, seed)
    for line in _kept_lines():
        kept = json.loads(line)
        if kept["key"] == key:
            rows: list[Row] = kept["rows"]
            return rows
    print(f"{experiment} on {name}, seed {seed} ...", file=sys.stderr, flush=True)
    rows = [
        {"experiment": experiment, "setting": name, "seed": seed, **row}
        for row in EXPERIMENTS[experiment](setting, seed)
    ]
    lines = [*_kept_lines(), json.dumps({"key": key, "rows": rows})]
    write_bytes(KEPT, ("\n".join(lines) + "\n").encode())
    return rows


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the half-width of its 95 % interval; None for a single value."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, None
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, _T.get(n, 1.96) * deviation / math.sqrt(n)


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each experiment, setting and variant, over its seeds."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["experiment"], row["setting"], row["variant"]].append(row)
    table = []
    for (experiment, setting, variant), members in groups.items():
        mean, half = mean_and_interval([row["accuracy"] for row in members])
        entry: Row = {
            "experiment": experiment,
            "setting": setting,
            "variant": variant,
            "sparsity": members[0]["sparsity"],
            "seeds": len(members),
            "accuracy": round(mean, 3),
            "interval": None if half is None else round(half, 3),
        }
        if "separate" in members[0]:
            deltas = [row["accuracy"] - row["separate"] for row in members]
            mean, half = mean_and_interval(deltas)
            entry |= {
                "separate": round(mean_and_interval([row["separate"] for row in members])[0], 3),
                "delta": round(mean, 3),
                "delta_interval": None if half is None else round(half, 3),
                "delta_largest": round(max(map(abs, deltas)), 6),
            }
        for name in ("density", "flops_fraction", "relative_loss"):
            if name in members[0]:
                entry[name] = round(sum(row[name] for row in members) / len(members), 4)
        table.append(entry)
    return table


def _mean(table: Sequence[Row], experiment: str, variant: str, column: str = "accuracy") -> float | None:
    found = [r[column] for r in table if (r["experiment"], r["variant"]) == (experiment, variant)]
    return float(found[0]) if found else None


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else round(a - b, 3)


def _claims(table: Sequence[Row]) -> list[Claim]:
    claims = []
    for name in dict.fromkeys(row["setting"] for row in table if row["experiment"] == "elsa"):
        rows = [row for row in table if row["experiment"] == "elsa" and row["setting"] == name]
        sparse = [row["delta_largest"] for row in rows if row["variant"] == "level 0"]
        others = [row["delta"] for row in rows if row["variant"] != "level 0"]
        seeds = rows[0]["seeds"]
        claims.append(
            at_most(f"{name}: ELSA minus separate is 0 at the sparsest level, {seeds} seeds", 0.0, sparse[0])
        )
        claims.append(
            at_least(f"{name}: mean ELSA minus separate at the worst other level, points", -0.5, min(others))
        )
    one_shot = _mean(table, "halo", "one-shot magnitude, no fine-tuning")
    gradual = _mean(table, "halo", "gradual magnitude")
    plain = _difference(_mean(table, "halo", "HALO, no fine-tuning"), one_shot)
    no_tuning = _difference(_mean(table, "halo", "HALO, no fine-tuning"), gradual)
    fixed = _difference(_mean(table, "halo", "HALO, mask fixed for the last quarter"), gradual)
    retrained = _difference(_mean(table, "asni", "ASNI-II"), _mean(table, "asni", "ASNI-I"))
    claims += [
        at_least("HALO at 95 % minus one-shot magnitude, both without fine-tuning, points", 0.0, plain),
        at_least(
            "HALO at 95 %, mask fixed for the last quarter, minus gradual magnitude, points", -0.5, fixed
        ),
        at_least("HALO at 95 % without fine-tuning minus gradual magnitude, points", -0.5, no_tuning),
        at_most("ASNI-I: largest distance to the author's golden counts, weights", 2, _golden_distance()),
        at_least("ASNI-II minus ASNI-I, points", -1.0, retrained),
    ]
    dense = _mean(table, "multilevel", "dense")
    for trainer in ("freeze", "joint"):
        claims += [
            at_most(
                f"multi-level, {trainer}: relative loss with 5.38 % of the weights, per cent",
                3.25,
                _mean(table, "multilevel", f"{trainer} level 0", "relative_loss"),
            ),
            at_least(
                f"multi-level, {trainer}: 13.38 % of the weights minus dense, points",
                -0.5,
                _difference(_mean(table, "multilevel", f"{trainer} level 1"), dense),
            ),
        ]
    return claims


def _golden_distance() -> float:
    """Return how far the sigmoid program is from the author's log of VGG11 (methods in the README of benchmarks)."""
    golden = {12: 9_171_239, 48: 8_304_846, 84: 4_383_591, 120: 1_013_894, 160: 352_111}
    never_pruned = 9_231_114 - 9_222_848
    program, alive, worst = ASNI(160, 1, width=16, maximum=0.97, paper_exact=True), 9_222_848, 0
    for epoch in range(160):
        alive = program.alive_after(epoch, alive)
        worst = max(worst, abs(alive + never_pruned - golden.get(epoch + 1, alive + never_pruned)))
    return float(worst)


def _overhead(rounds: int) -> tuple[list[Row], Claim]:
    """Time a training step with a stage attached against the plain one, at both kinds of level."""
    setting = SETTINGS["cnn"]
    task = task_of(dataclasses.replace(setting, data="examples.cnn:fashion_small"))
    batch = next(iter(task.batches(setting.batch_size, 0)))

    def stepper(level: int | None) -> Any:
        model = fresh(setting, 0)
        optimizer = None
        if level is not None:
            stages = elsa_stages(model, [0.9, 0.0], sparsifier=GradualMagnitude(1000, end=0.001))
            for stage in stages:
                optimizer = optimizer_of(setting, model.parameters())
                stage.attach(optimizer)
                if stage.level == level:
                    break
                step(model, optimizer)
        optimizer = optimizer or optimizer_of(setting, model.parameters())
        return lambda: step(model, optimizer)

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss: torch.Tensor = task.loss(call_model(model, batch[0]), batch[1])
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()

    times = interleaved(
        {"plain": stepper(None), "level 0": stepper(0), "level 1": stepper(1)}, rounds=rounds, least_s=0.05
    )
    rows, worst = [], 0.0
    for name in ("level 0", "level 1"):
        found = ratio(times[name], times["plain"])
        worst = max(worst, found.value)
        rows.append(
            {
                "experiment": "overhead",
                "setting": "cnn",
                "variant": f"step with a stage attached, {name}",
                **found.row(),
            }
        )
    return rows, at_most("training step with a stage attached over the plain step", 1.10, round(worst, 4))


def _picture(table: Sequence[Row]) -> None:
    """Draw accuracy over sparsity of ELSA and of separate networks."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["setting"] for row in table if row["experiment"] == "elsa"))
    figure, axes = plt.subplots(1, len(names), figsize=(5 * len(names), 4), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        rows = [row for row in table if row["experiment"] == "elsa" and row["setting"] == name]
        density = [100 * (1 - row["sparsity"]) for row in rows]
        axis.errorbar(
            density,
            [r["accuracy"] for r in rows],
            [r["interval"] or 0 for r in rows],
            marker="o",
            label="ELSA, one file",
        )
        axis.plot(
            density, [r["separate"] for r in rows], marker="x", linestyle="--", label="trained separately"
        )
        axis.set(title=name, xlabel="weights kept, %", ylabel="accuracy, %", xscale="log")
        axis.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    write_bytes(RESULTS / "accuracy.png", content.getvalue())


def _csv(table: Sequence[Row]) -> None:
    columns = list(dict.fromkeys(column for row in table for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(table)
    write_bytes(RESULTS / "accuracy.csv", text.getvalue().encode())


@benchmark("accuracy")
def main(quick: bool) -> Result:
    """Train every method with several seeds and compare."""
    torch.set_num_threads(1)
    plan = FULL if click.get_current_context().meta.get("full") else PLAN
    rows: list[Row] = []
    for experiment, setting, seeds in plan:
        for seed in range(1 if quick else seeds):
            rows += _run(experiment, setting, seed, quick=quick)
    table = summarise(rows)
    overhead, claim = _overhead(5 if quick else 31)
    claims = [*_claims(table), claim]
    if not quick:
        _csv(table)
        _picture(table)
    return Result(rows=[*table, *overhead], claims=claims)


def _remember_full(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta["full"] = value


_command: Any = main  # a click command, which the decorator types as a plain callable
_command.params.append(
    click.Option(
        ["--full"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember_full,
        help="Also ResNet-20 for 30 epochs; for an accelerator.",
    )
)

if __name__ == "__main__":
    main()
