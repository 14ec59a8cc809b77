"""`elsa-edge run`: run a bundle under the controller."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elsa_edge.cli._common import cache_option, emit, json_option, print_table, say

if TYPE_CHECKING:
    from elsa_edge.session import AdaptiveSession

__all__ = ["command"]


@click.command(
    name="run",
    epilog="Example: elsa-edge run bundle/ --device raspberry-pi-5 --input photo.npz --seconds 10",
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--device", metavar="NAME_OR_YAML", help="Device profile; by default the one the bundle was built for."
)
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    help="Inputs (.npz, one array per input); by default golden.",
)
@click.option("--seconds", type=click.FloatRange(min=0), help="Repeat for so long; by default run once.")
@click.option("--level", type=int, help="Stay at this level instead of letting the controller choose.")
@click.option("--variant", metavar="NAME", help="Variant to run; by default the profile's first that loads.")
@click.option(
    "-o", "--output", "outputs", type=click.Path(path_type=Path), help="Write the last outputs (.npz)."
)
@cache_option
@json_option
def command(
    *,
    bundle: Path,
    device: str | None,
    inputs: Path | None,
    seconds: float | None,
    level: int | None,
    variant: str | None,
    outputs: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Run BUNDLE under the controller and say what it did.

    Without --seconds one inference is made.
    """
    from elsa_edge.inputs import read_inputs
    from elsa_edge.session import AdaptiveSession

    with AdaptiveSession.open(bundle, device, variant=variant, cache=cache) as session:
        for note in session.notes:
            say(note)
        feed = session.bundle.golden.inputs if inputs is None else read_inputs(inputs, session.bundle.inputs)
        last, record = _repeat(session, dict(feed), seconds, level)
        if outputs is not None:
            _write(outputs, last)
        _show(record)
        emit(
            {
                "bundle": str(bundle),
                "device": session.profile.name,
                "variant": session.variant.name,
                **record,
                "outputs": {
                    name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in last.items()
                },
            },
            as_json=as_json,
        )


def _repeat(
    session: AdaptiveSession, feed: dict[str, Any], seconds: float | None, level: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run once, or until the time is up; return the last outputs and what happened."""
    ends_s = time.monotonic() + (seconds or 0.0)
    budget_ms = session.profile.qos.latency_budget_ms
    latencies: dict[int, list[float]] = {}
    reasons: Counter[str] = Counter()
    switches, previous = 0, None
    while True:
        used = session.level if level is None else level
        began_s = time.monotonic()
        last = session.run(feed, level)
        latencies.setdefault(used, []).append((time.monotonic() - began_s) * 1e3)
        reasons[str(session.last_decision.reason)] += 1
        switches += previous is not None and previous != used
        previous = used
        if time.monotonic() >= ends_s:
            break
    every = [value for values in latencies.values() for value in values]
    decision = session.last_decision
    rows = [
        {
            "level": k,
            "name": session.ladder[k].name,
            "runs": len(latencies[k]),
            "p50_ms": _quantile(latencies[k], 0.50),
            "p95_ms": _quantile(latencies[k], 0.95),
        }
        for k in sorted(latencies)
    ]
    return last, {
        "runs": len(every),
        "switches": int(switches),
        "latency_budget_ms": budget_ms,
        "missed": None if budget_ms is None else sum(value > budget_ms for value in every),
        "p50_ms": _quantile(every, 0.50),
        "p95_ms": _quantile(every, 0.95),
        "levels": rows,
        "reasons": dict(reasons),
        "decision": {
            "level": decision.level,
            "reason": str(decision.reason),
            "feasible": decision.feasible,
            "predicted_ms": decision.predicted_ms,
            "slowdown": decision.slowdown,
            "miss_rate": decision.miss_rate,
        },
    }


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _write(path: Path, arrays: dict[str, Any]) -> None:
    from elsa_edge.inputs import write_arrays

    write_arrays(path, arrays)
    say(f"Outputs written to {path}")


def _show(record: dict[str, Any]) -> None:
    rows = [(f"{k['level']} {k['name']}", k["runs"], k["p50_ms"], k["p95_ms"]) for k in record["levels"]]
    print_table("Levels that ran", ("level", "runs", "p50 ms", "p95 ms"), rows)
    budget = record["latency_budget_ms"]
    missed = "" if budget is None else f", {record['missed']} over the budget of {budget:g} ms"
    decision = record["decision"]
    say(
        f"{record['runs']} runs, {record['switches']} switches{missed}; next level {decision['level']} "
        f"({decision['reason']}{'' if decision['feasible'] else ', NOT feasible'})"
    )
