"""`elsa-edge simulate`: replay a trace through the controller that runs on the device, and say how well it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from elsa_edge.cli._common import device_option, emit, json_option, print_table, refuse_existing, say

if TYPE_CHECKING:
    from elsa_edge.control import LevelFacts
    from elsa_edge.control.replay import Outcome, Run
    from elsa_edge.profiles import DeviceProfile

__all__ = ["command"]

_LONGEST_MS: Final = 1e12


class _Fixed:
    """Always the same level, for comparison."""

    def __init__(self, level: int) -> None:
        self.level = level

    def observe(self, _: object, /) -> None:
        """Learn nothing."""


@click.command("simulate", epilog="Example: elsa-edge simulate --device measured.yaml --scenario burst")
@device_option
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="CSV: slowdown, or latency_ms and level; see docs/controller.md.",
)
@click.option(
    "--scenario",
    "scenario_name",
    help="A made-up trace: constant step ramp burst heavy-tail thermal memory-squeeze.",
)
@click.option(
    "--runs", default=1000, show_default=True, type=click.IntRange(min=1), help="Length of a scenario."
)
@click.option("--seed", default=0, show_default=True, help="Seed of a scenario.")
@click.option(
    "--levels-ms",
    metavar="MS,MS,...",
    help="Median latency of each level, sparsest first, instead of a measured table.",
)
@click.option("--budget-ms", type=float, help="Latency budget instead of the profile's.")
@click.option("--period-ms", type=float, help="Time from one run to the next; by default back to back.")
@click.option("--log", type=click.Path(path_type=Path), help="Write every run and decision to this CSV file.")
@json_option
def command(
    *,
    device: str,
    trace: Path | None,
    scenario_name: str | None,
    runs: int,
    seed: int,
    levels_ms: str | None,
    budget_ms: float | None,
    period_ms: float | None,
    log: Path | None,
    as_json: bool,
) -> None:
    """Replay a trace through the controller and compare it with fixed levels and with an oracle."""
    from dataclasses import replace

    from elsa_edge.control import Controller, Policy, make_plan
    from elsa_edge.control.replay import replay, score
    from elsa_edge.control.trace import bundles_of, read_trace, scenario
    from elsa_edge.errors import UsageError
    from elsa_edge.profiles import load_profile

    if trace is not None and scenario_name is not None:
        raise UsageError(
            "Either a trace or a scenario can be replayed, not both", fix="Leave one of them out"
        )
    profile = load_profile(device)
    policy = Policy.from_qos(profile.qos)
    if budget_ms is not None:
        policy = replace(policy, budget_ms=_positive("--budget-ms", budget_ms))
    facts, source = _levels(profile, levels_ms, policy.budget_ms)
    truth = [fact.p50_ms or 0.0 for fact in facts]
    foreign: tuple[str, ...] = ()
    if trace is not None:
        samples = read_trace(trace, truth)
        foreign = _foreign(profile, source, bundles_of(trace))
    else:
        samples = scenario(scenario_name or "step", runs, seed, reserve_bytes=policy.reserve_bytes)
    period = 0.0 if period_ms is None else _positive("--period-ms", period_ms)

    if log is not None:
        refuse_existing(log)
    plan = make_plan(facts, policy)
    done = replay(samples, facts, truth, Controller(plan), period_ms=period)
    outcome = score(done, samples, facts, truth, policy)
    fixed = [
        score(replay(samples, facts, truth, _Fixed(k), period_ms=period), samples, facts, truth, policy)
        for k in range(len(facts))
    ]
    if log is not None:
        _write_log(log, done)
    notes = (*foreign, *plan.notes)
    for note in notes:
        say(note)
    _show(facts, outcome, fixed)
    emit(
        {
            "device": profile.name,
            "trace": str(trace) if trace is not None else scenario_name or "step",
            "levels_source": source,
            "budget_ms": policy.budget_ms,
            "allowed_miss_rate": policy.allowed_miss_rate,
            "notes": notes,
            "controller": asdict(outcome),
            "reasons": dict(Counter(run.reason for run in done)),
            "levels": [
                {
                    "level": k,
                    "name": fact.name,
                    "p50_ms": fact.p50_ms,
                    "accuracy": fact.accuracy,
                    **asdict(fixed[k]),
                }
                for k, fact in enumerate(facts)
            ],
            "log": None if log is None else str(log),
        },
        as_json=as_json,
    )


def _foreign(profile: DeviceProfile, source: str, bundles: tuple[str, ...]) -> tuple[str, ...]:
    """Say where a trace is of another bundle than the levels' latencies: its slow-downs are then of neither."""
    mine = profile.measured.bundle if profile.measured is not None and source == "measured" else None
    others = [bundle for bundle in bundles if mine is not None and bundle != mine]
    if not others:
        return ()
    return (f"The trace is of another bundle ({', '.join(others)}) than the measured table ({mine}).",)


def _positive(name: str, value: float) -> float:
    from elsa_edge.errors import UsageError

    if not 0.0 < value <= _LONGEST_MS:
        raise UsageError(
            f"{name} must be a time", expected=f"milliseconds above 0, up to {_LONGEST_MS:g}", found=value
        )
    return value


def _levels(profile: DeviceProfile, levels_ms: str | None, budget_ms: float) -> tuple[list[LevelFacts], str]:
    """Return the levels and where their latencies come from: option, measured, or assumed for want of both."""
    from elsa_edge.control import LevelFacts
    from elsa_edge.errors import ProfileError, UsageError

    if levels_ms is not None:
        try:
            medians = [_positive("--levels-ms", float(part)) for part in levels_ms.split(",")]
        except ValueError as error:
            raise UsageError(
                "--levels-ms is not readable", expected="numbers such as 12,18,40", found=repr(levels_ms)
            ) from error
        return [
            LevelFacts(name=f"level-{k}", p50_ms=median) for k, median in enumerate(medians)
        ], "--levels-ms"
    if profile.measured is not None:
        unknown = [row.name for row in profile.measured.levels if row.p50_ms is None]
        if unknown:
            raise ProfileError(
                f"The profile has no p50_ms for {', '.join(unknown)}",
                fix="Measure it with `elsa-edge profile`",
            )
        return [
            LevelFacts(
                name=row.name,
                p50_ms=row.p50_ms,
                p95_ms=row.p95_ms,
                switch_ms=row.switch_ms or 0.0,
                memory_bytes=row.memory_bytes,
                accuracy=row.accuracy,
            )
            for row in profile.measured.levels
        ], "measured"
    say(
        "This profile has no measured latencies; three levels at 0.4, 0.55 and 0.85 of the budget are assumed."
        " Measure with `elsa-edge profile`, or give --levels-ms."
    )
    scale = budget_ms if budget_ms < float("inf") else 100.0
    return [
        LevelFacts(name=name, p50_ms=share * scale, p95_ms=1.1 * share * scale, memory_bytes=memory)
        for name, share, memory in (
            ("s95", 0.4, 20_000_000),
            ("s90", 0.55, 30_000_000),
            ("dense", 0.85, 60_000_000),
        )
    ], "assumed"


def _write_log(path: Path, runs: Sequence[Run]) -> None:
    import csv
    import io

    from elsa_edge.files import write_bytes

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("end_ms", "level", "latency_ms", "available_bytes", "reason", "feasible"))
    writer.writerows(
        (
            f"{run.end_ms:.3f}",
            run.level,
            f"{run.latency_ms:.3f}",
            run.available_bytes,
            run.reason,
            int(run.feasible),
        )
        for run in runs
    )
    write_bytes(path, text.getvalue().encode())


def _show(facts: Sequence[LevelFacts], outcome: Outcome, fixed: Sequence[Outcome]) -> None:
    rows = [
        (
            name,
            one.miss_rate,
            one.mean_accuracy,
            one.mean_value,
            one.regret,
            one.switches,
            one.short_of_memory,
        )
        for name, one in [
            ("controller", outcome),
            *((f"always {f.name}", o) for f, o in zip(facts, fixed, strict=True)),
        ]
    ]
    print_table(
        f"{outcome.runs} runs; value counts a run over the budget or short of memory as 0",
        ["policy", "miss rate", "accuracy", "value", "regret", "switches", "low memory"],
        rows,
    )
