"""The controller against other ways to choose a level, on made-up and recorded traces; and the time of a decision.

    regret = mean value of a clairvoyant oracle less ours; a run over the budget has value 0, else its accuracy

Every policy replays the same trace. The truth differs from the measured table where a row says so; no policy sees
the truth. Recorded traces are those of real disturbances, by `benchmarks.service`; rows with `hindsight_regret` say
what a rule could reach that knew such a trace. Decision times are medians of CPU time over the observations of a trace.
A full run also draws the frontier, `benchmarks/results/qos.png`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.common import RESULTS, Claim, Result, Row, at_most, benchmark
from benchmarks.qos.bound import hindsight_row
from benchmarks.qos.decision import decision_row
from benchmarks.qos.frontier import draw_frontier
from benchmarks.qos.ladders import BUDGET_MS, DENSE_BYTES, PERIOD_MS, ladder
from benchmarks.qos.policies import Aimd, Alert, EwmaTable, EwmaThreshold, Pid, Static
from elsa_edge.control import Controller, LevelFacts, Policy, make_plan
from elsa_edge.control.replay import Chooser, clairvoyant, replay, score
from elsa_edge.control.trace import SCENARIOS, Sample, read_trace, scenario

RECORDED = Path(__file__).resolve().parents[2] / "tests" / "data" / "traces"
_ALLOWED = 0.05
_SHORTEST = 200
_RECORDED = "recorded"
# Of the network whose memory was squeezed: what had to stay free, and what its densest level needs beyond the sparsest.
_RECORDED_RESERVE_BYTES = 8e6
_RECORDED_DENSE_BYTES = 8.9e6


def _situations() -> dict[str, tuple[list[LevelFacts], list[float], list[float]]]:
    """Return name -> (facts that policies see, reference table, truth)."""
    three, three_ms = ladder(3)
    seven, seven_ms = ladder(7)
    blind, blind_ms = ladder(4, measured=False)
    wrong = [ms * factor for ms, factor in zip(three_ms, (1.25, 0.9, 1.1), strict=True)]
    return {
        "3 levels": (three, three_ms, three_ms),
        "7 levels": (seven, seven_ms, seven_ms),
        "3 levels, table wrong by up to 25 %": (three, three_ms, wrong),
        "4 levels, never measured": (blind, blind_ms, blind_ms),
    }


def _choosers(
    facts: list[LevelFacts], table: list[float], policy: Policy
) -> dict[str, Callable[[], Chooser]]:
    plan = make_plan(facts, policy)
    blind = any(level.p50_ms is None for level in facts)
    accuracies = [level.accuracy or 0.0 for level in facts]
    statics = {f"static {level.name}": (lambda k=k: Static(k)) for k, level in enumerate(facts)}
    return {
        "controller": lambda: Controller(plan),
        "ewma threshold": lambda: EwmaThreshold(len(facts), policy.budget_ms),
        "aimd": lambda: Aimd(len(facts), policy.budget_ms),
        "pid": lambda: Pid(len(facts), policy.budget_ms),
        **({} if blind else {"ewma table": lambda: EwmaTable(table, policy.budget_ms)}),
        **({} if blind else {"alert": lambda: Alert(table, accuracies, policy.budget_ms)}),
        **statics,
    }


def _traces(seeds: Sequence[int], runs: int, policy: Policy) -> dict[str, list[list[Sample]]]:
    """Return name -> traces: the made-up ones, one per seed, and each recorded one."""
    traces = {name: [scenario(name, runs, seed) for seed in seeds] for name in SCENARIOS}
    for file in sorted(RECORDED.glob("*.csv")):
        samples = read_trace(file, [1.0])[: max(runs, _SHORTEST)]
        traces[f"{_RECORDED} {file.stem}"] = [[_beyond(sample, policy.reserve_bytes) for sample in samples]]
    return traces


def _beyond(sample: Sample, reserve_bytes: float) -> Sample:
    """Return a sample whose memory beyond the recording's reserve is as many times what the densest level needs."""
    if sample.available_bytes is None:
        return sample
    room = (sample.available_bytes - _RECORDED_RESERVE_BYTES) / _RECORDED_DENSE_BYTES
    return sample._replace(available_bytes=max(0.0, reserve_bytes + room * DENSE_BYTES))


def _replay_rows(seeds: Sequence[int], runs: int) -> list[Row]:
    policy = Policy(budget_ms=BUDGET_MS, allowed_miss_rate=_ALLOWED)
    rows: list[Row] = []
    for situation, (facts, table, truth) in _situations().items():
        for name, traces in _traces(seeds, runs, policy).items():
            if name.startswith(_RECORDED):
                rows.append(
                    {"situation": situation, "trace": name, **hindsight_row(traces[0], facts, truth, policy)}
                )
            best = [clairvoyant(trace, facts, truth, policy) for trace in traces]
            possible = np.mean(
                [
                    [truth[k] * sample.slowdown > BUDGET_MS for k, sample in zip(levels, trace, strict=True)]
                    for levels, trace in zip(best, traces, strict=True)
                ]
            )
            rows.append(
                {
                    "situation": situation,
                    "trace": name,
                    "policy": "oracle",
                    "miss_rate": round(float(possible), 4),
                    "mean_accuracy": round(
                        float(np.mean([[facts[k].accuracy for k in levels] for levels in best])), 4
                    ),
                    "regret": 0.0,
                    "switches": float(np.mean([sum(a != b for a, b in pairwise(levels)) for levels in best])),
                }
            )
            for chooser, make in _choosers(facts, table, policy).items():
                outcomes = [
                    score(
                        replay(trace, facts, truth, make(), period_ms=PERIOD_MS), trace, facts, truth, policy
                    )
                    for trace in traces
                ]
                rows.append(
                    {
                        "situation": situation,
                        "trace": name,
                        "policy": chooser,
                        **{
                            key: round(float(np.mean([getattr(outcome, key) for outcome in outcomes])), 4)
                            for key in (
                                "miss_rate",
                                "mean_accuracy",
                                "regret",
                                "switches",
                                "switches_per_minute",
                                "short_of_memory",
                                "infeasible",
                            )
                        },
                    }
                )
    return rows


def _claims(rows: list[Row]) -> list[Claim]:
    decisions = [row["decision_us_p50"] for row in rows if "decision_us_p50" in row and row["levels"] <= 7]
    ours = [row for row in rows if row["policy"] == "controller" and "regret" in row]
    oracle = {(row["situation"], row["trace"]): row for row in rows if row["policy"] == "oracle"}
    extra = max(row["miss_rate"] - oracle[row["situation"], row["trace"]]["miss_rate"] for row in ours)
    claims = [
        at_most("a decision takes at most 20 microseconds (median, up to 7 levels)", 20.0, max(decisions))
    ]
    claims.append(
        at_most(
            f"misses beyond the oracle's stay within the allowed {_ALLOWED:.0%} on every trace",
            _ALLOWED,
            extra,
        )
    )
    for situation in dict.fromkeys(row["situation"] for row in ours):
        here = [row for row in rows if row["situation"] == situation and "regret" in row]
        recorded = [row for row in here if row["trace"].startswith(_RECORDED)]
        for traces, some in (
            ("all traces", here),
            ("made-up traces", [row for row in here if row not in recorded]),
            ("recorded traces", recorded),
        ):
            claims.append(_regret_claim(situation, traces, some))
    return claims


def _regret_claim(situation: str, traces: str, rows: list[Row]) -> Claim:
    means = {
        policy: float(np.mean([row["regret"] for row in rows if row["policy"] == policy]))
        for policy in dict.fromkeys(row["policy"] for row in rows)
    }
    ours = means.pop("controller")
    del means["oracle"]
    best = min(means, key=means.__getitem__)
    sentence = f"{situation}, {traces}: mean regret at most half of that of the best other policy, {best}"
    return at_most(sentence, round(means[best] / 2, 4), round(ours, 4))


@benchmark("qos")
def main(quick: bool) -> Result:
    """Controller against other policies on traces, and the time of a decision."""
    rows = _replay_rows(range(1 if quick else 5), 600 if quick else 3000)
    rows += [decision_row(count, 500 if quick else 5000) for count in (1, 3, 7, 16)]
    if not quick:
        draw_frontier(rows, _ALLOWED, RESULTS / "qos.png")
    return Result(rows=rows, claims=_claims(rows))


if __name__ == "__main__":
    main()
