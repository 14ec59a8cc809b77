"""Traces of the controller: what it saw at each moment and what it decided, for its twins in other languages.

A trace has a policy and levels, the free memory it begins with, the first decision (`start`) and rows of an observation
and the decision on it. JSON has no infinity and no NaN: a limit that is null is none, a time that is null is no number.
A decision that is null is a refusal: the plan cannot be made, or the observation cannot be and changes nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final

from elsa_edge.control import Decision, LevelFacts, Observation, Plan, Policy, make_plan, start, step
from elsa_edge.control.trace import SCENARIOS, Sample, scenario
from elsa_edge.errors import InputError, ProfileError

__all__ = ["GOLDEN", "MB", "Trace", "play", "record", "row", "some_levels", "some_policy", "trace_of"]

# Committed: few steps, every branch.
GOLDEN: Final = Path(__file__).resolve().parents[2] / "tests" / "control" / "golden_traces.json"
MB: Final = 1_000_000
_SEEN: Final = [field.name for field in fields(Observation)]
_DIGITS: Final = 12

Trace = dict[str, Any]


def row(decision: Decision) -> list[Any]:
    """Return what a twin must reproduce of a decision; numbers with more digits than are compared."""
    predicted = decision.predicted_ms
    return [
        decision.level,
        str(decision.reason),
        decision.feasible,
        None if predicted is None else float(f"{predicted:.{_DIGITS}g}"),
        float(f"{decision.miss_rate:.{_DIGITS}g}"),
    ]


def plan_of(trace: Trace) -> Plan:
    """Return the plan of a trace.

    Raises:
        ProfileError: When there is none.
    """
    limits: dict[str, Any] = {
        key: math.inf if value is None else value for key, value in trace["policy"].items()
    }
    return make_plan([LevelFacts(**facts) for facts in trace["levels"]], Policy(**limits))


def play(trace: Trace) -> Iterator[tuple[list[Any] | None, list[Any] | None]]:
    """Show the controller what a trace saw; yield what it decides and what the trace says, None for a refusal."""
    try:
        plan = plan_of(trace)
    except ProfileError:
        yield None, trace["start"]
        return
    state, decision, _ = start(plan, available_bytes=trace["available_bytes"])
    yield row(decision)[:3], trace["start"]
    for seen, expected in trace["rows"]:
        told = dict(zip(_SEEN, seen, strict=True))
        observation = Observation(**told | {"now_ms": math.nan if told["now_ms"] is None else told["now_ms"]})
        try:
            state, decision, _ = step(state, observation, plan)
        except InputError:
            yield None, expected
            continue
        yield row(decision), expected


def trace_of(
    policy: Policy, levels: list[LevelFacts], seen: list[list[Any]], available_bytes: float | None = None
) -> Trace:
    """Return the trace of what is seen whatever the controller decides."""
    limits = {key: value if math.isfinite(value) else None for key, value in asdict(policy).items()}
    trace: Trace = {
        "policy": limits,
        "levels": [asdict(facts) for facts in levels],
        "available_bytes": available_bytes,
        "start": None,
        "rows": [[observation, None] for observation in seen],
    }
    first, *decided = [found for found, _ in play(trace)]
    rows = [[observation, found] for observation, found in zip(seen, decided, strict=bool(first))]
    return trace | {"start": first, "rows": rows}


def some_policy(generator: random.Random) -> Policy:
    """Return a policy such as people write, and some that nobody should."""
    return Policy(
        budget_ms=generator.choice((math.inf, *(generator.uniform(5.0, 60.0) for _ in range(5)))),
        allowed_miss_rate=generator.choice((0.01, 0.05, 0.1, 0.5)),
        window_runs=generator.choice((1, 20, 50, 200)),
        reserve_bytes=generator.uniform(0.0, 100.0) * MB,
        hysteresis_bytes=generator.uniform(0.0, 30.0) * MB,
        temperature_limit_c=generator.choice((math.inf, 60.0, 80.0)),
        minimum_accuracy=generator.choice((0.0, 0.0, 0.62)),
        margin=generator.choice((0.0, 0.1)),
        up_margin=generator.choice((0.05, 0.2)),
        up_after_runs=generator.randint(1, 12),
        dwell_ms=generator.uniform(0.0, 800.0),
        discard_runs=generator.randint(0, 3),
        idle_gap_ms=generator.choice((50.0, 2000.0)),
    )


def some_levels(generator: random.Random) -> list[LevelFacts]:
    """Return one to eight levels; measured or not, with accuracies or without, sometimes not in order of latency."""
    count = generator.randint(1, 8)
    measured = [
        generator.random() < share for share in [generator.choice((0.0, 0.5, 1.0))] for _ in range(count)
    ]
    accurate, known_memory = generator.random() < 0.5, generator.random() < 0.8
    times = sorted(generator.uniform(2.0, 50.0) for _ in range(count))
    if generator.random() < 0.2:
        generator.shuffle(times)
    return [
        LevelFacts(
            name=f"level-{k}",
            work=(k + 1) / count,
            p50_ms=times[k] if measured[k] else None,
            p95_ms=times[k] * generator.uniform(1.0, 1.4) if measured[k] else None,
            switch_ms=generator.choice((0.0, 2.0)),
            memory_bytes=int(generator.uniform(10.0, 20.0 + 20.0 * k) * MB) if known_memory else None,
            accuracy=0.6 + 0.3 * (k / count) ** 0.5 if accurate else None,
        )
        for k in range(count)
    ]


def record(generator: random.Random, runs: int) -> Trace | None:
    """Return one trace, or None where no plan can be made."""
    policy, levels = some_policy(generator), some_levels(generator)
    measured_ms = [fact.p50_ms for fact in levels if fact.p50_ms is not None]
    if measured_ms and generator.random() < 0.7:
        # A budget that some levels hold and others do not.
        policy = replace(policy, budget_ms=generator.choice(measured_ms) * generator.uniform(0.8, 1.6))
    try:
        plan = make_plan(levels, policy)
    except ProfileError:
        return None
    name = generator.choice(SCENARIOS)
    samples = scenario(name, runs, generator.randrange(1 << 30), reserve_bytes=policy.reserve_bytes)
    truth = [(fact.p50_ms or 20.0 * fact.work) * generator.uniform(0.8, 1.3) for fact in levels]
    free = generator.choice((None, policy.reserve_bytes + 200.0 * MB))
    state, decision, _ = start(plan, available_bytes=free)
    first, rows, now = row(decision)[:3], [], 0.0
    squeezed = 0
    for sample in samples:
        # Now and then another program takes all that is left, for some runs.
        squeezed = generator.randint(3, 30) if generator.random() < 0.01 else max(0, squeezed - 1)
        if squeezed:
            left = policy.reserve_bytes - generator.uniform(0.0, 12.0) * MB
            sample = sample._replace(available_bytes=max(0.0, left))  # noqa: PLW2901 - the same moment, as it is now
        observation = observe(generator, sample, truth[decision.level], decision.level, now)
        now = observation.now_ms
        state, decision, _ = step(state, observation, plan)
        rows.append([list(asdict(observation).values()), row(decision)])
    return {
        "policy": {key: value if math.isfinite(value) else None for key, value in asdict(policy).items()},
        "levels": [asdict(fact) for fact in levels],
        "available_bytes": free,
        "start": first,
        "rows": rows,
    }


def observe(
    generator: random.Random, sample: Sample, truth_ms: float, level: int, now_ms: float
) -> Observation:
    """Return a run, or now and then only a look at the memory; sometimes after a pause, sometimes at no latency."""
    pause_ms = sample.idle_ms + (generator.uniform(60.0, 4000.0) if generator.random() < 0.01 else 5.0)
    latency_ms = 0.0 if generator.random() < 0.002 else truth_ms * sample.slowdown
    ran = generator.random() > 0.03
    return Observation(
        now_ms=now_ms + pause_ms + latency_ms,
        level=level if ran else None,
        latency_ms=latency_ms if ran else None,
        available_bytes=sample.available_bytes,
        pressure_percent=sample.pressure_percent,
        temperature_c=sample.temperature_c,
    )
