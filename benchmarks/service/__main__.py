"""Quality of service for real: interference, quotas, memory limits, rerouting and a soak, in real processes.

    python -m benchmarks.service [--part bursts] [--seconds 20] [--soak-minutes 30]

    bursts     stress-ng on the service's core; adaptive, always dense, always sparsest
    quota      the core's share in steps 100 -> 50 -> 25 -> 100 %
    memory     the memory limit lowered while the network runs, and raised again
    rerouting  bursts again: the network in segments against the same network whole
    soak       examples/camera_service at 80 % load, its memory, errors and late answers

Each part runs real processes pinned to one core; durations are in the rows, and so is the load of the machine, which
others may share. Times are wall-clock. What cannot be done here (no stress-ng, no control groups) is reported as such.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.common import Claim, Result, Row, at_least, at_most, benchmark, parts_option
from benchmarks.service.disturb import bursts, group, stress_ng
from benchmarks.service.network import LEVELS, bundles
from benchmarks.service.soak import soak
from elsa_edge.bundle import open_bundle
from elsa_edge.control import Policy, level_facts
from elsa_edge.control.replay import clairvoyant
from elsa_edge.control.trace import read_trace
from elsa_edge.errors import ElsaError
from elsa_edge.profiles.schema import Measured

_CORE: Final = max(os.sched_getaffinity(0))
_BURST_S: Final = 0.4
_ALLOWED: Final = 0.05
_POLICIES: Final = ("adaptive", "dense", "sparsest")
_PARTS: Final = ("bursts", "quota", "memory", "rerouting", "soak")

Runs = list[tuple[float, int, float, int | None, int | None]]


def _worker(wish: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.service.worker", json.dumps(wish | {"core": _CORE})],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _measured(bundle: Path) -> dict[str, Any]:
    """Return the table of levels as this machine runs them now."""
    found: dict[str, Any] = json.loads(_worker({"bundle": str(bundle)}).communicate(timeout=120)[0])
    return found


def _serve(
    wish: dict[str, Any], during: Callable[[subprocess.Popen[str]], None], *, may_die: bool = False
) -> Runs:
    """Run a worker; `during` is called when it is ready and must let it go. One that may die has then no runs."""
    process = _worker(wish)
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    during(process)
    text, _ = process.communicate(timeout=wish["seconds"] + 120)
    if process.returncode and may_die:
        return []
    if process.returncode:
        raise ElsaError(f"A worker of the benchmark ended with {process.returncode}")
    runs: Runs = [tuple(run) for run in json.loads(text)]
    return runs


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _accuracies(bundle: Path) -> list[float]:
    return [level.accuracy or 0.0 for level in open_bundle(bundle).ladder]


def _summary(runs: Runs, budget_ms: float, accuracy: Sequence[float]) -> Row:
    latencies = np.array([run[2] for run in runs])
    late = latencies > budget_ms
    return {
        "runs": len(runs),
        "late_share": round(float(late.mean()), 4),
        "p50_ms": round(float(np.median(latencies)), 3),
        "p99_ms": round(float(np.quantile(latencies, 0.99)), 3),
        "mean_accuracy": round(float(np.mean([accuracy[run[1]] for run in runs])), 4),
        # A late answer is worth nothing.
        "mean_value": round(
            float(np.mean([0.0 if gone else accuracy[run[1]] for run, gone in zip(runs, late, strict=True)])),
            4,
        ),
        "switches": sum(a[1] != b[1] for a, b in itertools.pairwise(runs)),
        "rerouted": sum(run[3] is not None for run in runs),
    }


def _frame(bundle: Path, seconds: float) -> tuple[dict[str, Any], list[float]]:
    """Return what every worker of a part is told, and the medians of the levels."""
    table = _measured(bundle)
    medians = [level["p50_ms"] for level in table["levels"]]
    # The densest level fits a quiet core, and not one that is shared with another process.
    budget_ms = 1.5 * medians[-1]
    wish = {
        "bundle": str(bundle), "measured": table, "budget_ms": budget_ms, "period_ms": 2.0 * budget_ms,
        "seconds": seconds,
    }  # fmt: skip
    return wish, medians


def _oracle_accuracy(trace: Path, whole: Path, wish: dict[str, Any]) -> tuple[float, float]:
    """Return mean accuracy and late share of who knew the recorded trace beforehand."""
    medians = [level["p50_ms"] for level in wish["measured"]["levels"]]
    policy = Policy(budget_ms=wish["budget_ms"], allowed_miss_rate=_ALLOWED)
    samples = read_trace(trace, medians)
    facts = level_facts(
        open_bundle(whole).manifest.ladder, Measured.model_validate_json(json.dumps(wish["measured"]))
    )
    levels = clairvoyant(samples, facts, medians, policy)
    late = [
        medians[k] * sample.slowdown > policy.budget_ms for k, sample in zip(levels, samples, strict=True)
    ]
    return float(np.mean([facts[k].accuracy or 0.0 for k in levels])), float(np.mean(late))


def _bursts(whole: Path, seconds: float, trace: Path) -> tuple[list[Row], list[Claim]]:
    wish, medians = _frame(whole, seconds)
    accuracy = _accuracies(whole)
    rows: list[Row] = []
    trace.unlink(missing_ok=True)
    with bursts(_CORE, 3 * _BURST_S, 3 * _BURST_S, 1):
        for policy in _POLICIES:
            recording = {"record": str(trace)} if policy == "adaptive" else {}
            runs = _serve(wish | {"policy": policy} | recording, _go)
            rows.append(
                {"part": "bursts", "policy": policy, "seconds": seconds, "budget_ms": round(wish["budget_ms"], 3),
                 "levels_ms": [round(ms, 3) for ms in medians], **_summary(runs, wish["budget_ms"], accuracy)}
            )  # fmt: skip
    ours, dense, sparsest = rows
    oracle, oracle_late = _oracle_accuracy(trace, whole, wish)
    rows.append(
        {
            "part": "bursts",
            "policy": "oracle on the recorded trace",
            "mean_accuracy": round(oracle, 4),
            "late_share": round(oracle_late, 4),
        }
    )
    # The part of the sparsest level's late runs is what no level could have held.
    possible = sparsest["late_share"]
    return rows, [
        at_most(
            "bursts: late share at most 5 % + 1 point, beyond what even the sparsest level missed",
            _ALLOWED + 0.01,
            round(max(0.0, ours["late_share"] - possible), 4),
        ),
        at_most(
            "bursts: mean accuracy below the oracle's on the recorded trace, points",
            1.0,
            round(100 * (oracle - ours["mean_accuracy"]), 2),
        ),
        at_least(
            "bursts: times fewer late runs than always dense", 3.0,
            round(dense["late_share"] / max(ours["late_share"], 1e-4), 2),
        ),
        at_least(
            "bursts: mean accuracy above always sparsest, points", 0.0,
            round(100 * (ours["mean_accuracy"] - sparsest["mean_accuracy"]), 2),
        ),
    ]  # fmt: skip


def _quota(whole: Path, seconds: float) -> tuple[list[Row], list[Claim]]:
    steps = (1.0, 0.5, 0.25, 1.0)
    wish, medians = _frame(whole, seconds)
    # Below a quota a run of half a period already waits for the next one: the budget must leave room for that.
    budget_ms = 2.5 * medians[-1]
    wish |= {"budget_ms": budget_ms, "period_ms": 1.25 * budget_ms, "policy": "adaptive"}
    marks: list[float] = []
    with group("cpu") as held:
        if held is None:
            return [{"part": "quota", "not_measured": "no control group of CPU can be made here"}], [
                at_most("quota: runs until back inside the policy after a step", 20, None)
            ]

        def steer(process: subprocess.Popen[str]) -> None:
            held.add(process.pid)
            held.set_quota(steps[0])
            _go(process)
            began = time.monotonic()
            for share in steps:
                held.set_quota(share)
                marks.append(time.monotonic() - began)
                time.sleep(seconds / len(steps))

        runs = _serve(wish, steer)
    rows: list[Row] = []
    accuracy = _accuracies(whole)
    for share, start, end in zip(steps, marks, [*marks[1:], seconds], strict=True):
        here = [run for run in runs if start <= run[0] < end]
        if not here:
            continue
        late = [run[2] > budget_ms for run in here]
        rows.append(
            {"part": "quota", "share": share, "seconds": round(end - start, 1), "budget_ms": round(budget_ms, 3),
             "levels_ms": [round(ms, 3) for ms in medians], "runs_until_inside": _until_inside(late),
             "last_level": here[-1][1], **_summary(here, budget_ms, accuracy)}
        )  # fmt: skip
    return rows, [
        at_most(
            "quota: runs until back inside the policy after a step", 20,
            max((row["runs_until_inside"] for row in rows), default=None),
        ),
        at_most("quota: switches on a plateau", 2, max((row["switches"] for row in rows), default=None)),
    ]  # fmt: skip


def _until_inside(late: Sequence[bool], window: int = 20) -> int:
    """Return after how many runs the next twenty hold the policy: at most one of them late."""
    for start in range(len(late) - min(window, len(late)) + 1):
        if sum(late[start : start + window]) <= _ALLOWED * window:
            return start
    return len(late)


def _memory(whole: Path, seconds: float) -> tuple[list[Row], list[Claim]]:
    wish, _ = _frame(whole, seconds)
    wish |= {"policy": "adaptive", "budget_ms": None, "period_ms": 15.0, "reserve_mb": 8.0}
    noted: dict[str, int] = {}
    with group("memory") as held:
        if held is None:
            return [{"part": "memory", "not_measured": "no control group of memory can be made here"}], [
                at_most("memory: processes killed and inferences failed", 0, None)
            ]

        def steer(process: subprocess.Popen[str]) -> None:
            held.add(process.pid)
            _go(process)
            time.sleep(seconds / 3)
            # Memory that was there before the process moved in is not counted; leave less than the reserve.
            noted["limit"] = held.used_bytes() + 4_000_000
            held.set_memory(noted["limit"])
            time.sleep(seconds / 3)
            held.set_memory(None)

        runs = _serve(wish, steer, may_die=True)
    thirds = [[run for run in runs if k * seconds / 3 <= run[0] < (k + 1) * seconds / 3] for k in range(3)]
    top = len(LEVELS) - 1
    row: Row = {
        "part": "memory", "seconds": seconds, "runs": len(runs), "limit_mb": round(noted["limit"] / 1e6, 1),
        "killed_or_failed": int(not runs),
        "levels_seen": [sorted({run[1] for run in third}) for third in thirds],
        "last_level": runs[-1][1] if runs else None,
    }  # fmt: skip
    return [row], [
        at_most("memory: processes killed and inferences failed", 0, row["killed_or_failed"]),
        # Where the dense level needs the least memory there is nothing to leave it for, and this does not hold.
        at_most(
            "memory: sparsest level under the limit is below the densest",
            top - 1,
            min(row["levels_seen"][1], default=None),
        ),
        at_least("memory: level at the end, the limit being gone", top, row["last_level"]),
    ]


def _rerouting(whole: Path, cut: Path, seconds: float) -> tuple[list[Row], list[Claim]]:
    wish, medians = _frame(whole, seconds)
    cut_table = _measured(cut)
    tables = {"whole": wish["measured"], "in 3 segments": cut_table}
    accuracy = _accuracies(whole)
    budget_ms = wish["budget_ms"]
    rows: list[Row] = []
    # Short bursts with long pauses: the controller is back at the densest level when the next one begins.
    with bursts(_CORE, _BURST_S, 4 * _BURST_S, 3):
        for turn in range(2):
            for name, bundle in (("whole", whole), ("in 3 segments", cut))[:: 1 if turn == 0 else -1]:
                told = wish | {"bundle": str(bundle), "measured": tables[name], "policy": "adaptive",
                               "period_ms": budget_ms}  # fmt: skip
                runs = _serve(told, _go)
                # Hit: beyond what a quiet core takes at its level.
                hit = [run for run in runs if run[2] > 1.3 * medians[run[1]] or run[3] is not None]
                rows.append(
                    {"part": "rerouting", "network": name, "turn": turn, "seconds": seconds,
                     "budget_ms": round(budget_ms, 3), "hit": len(hit),
                     "hit_p99_ms": round(float(np.quantile([run[2] for run in hit], 0.99)), 3) if hit else None,
                     "hit_mean_ms": round(float(np.mean([run[2] for run in hit])), 3) if hit else None,
                     **_summary(runs, budget_ms, accuracy)}
                )  # fmt: skip
    both = {
        name: [row["hit_p99_ms"] for row in rows if row["network"] == name and row["hit_p99_ms"] is not None]
        for name in tables
    }
    lower = None
    if all(both.values()):
        lower = round(1.0 - float(np.mean(both["in 3 segments"])) / float(np.mean(both["whole"])), 3)
    instructions = open_bundle(cut).manifest.variants[0].instructions.model_dump()
    points = {" ".join(map(str, p["levels"])): p["accuracy"] for p in instructions["switch_points"]}
    rows.append(
        {"part": "rerouting", "network": "accuracy of switch points", "levels": accuracy, "switch_points": points,
         "whole_ms": [round(ms, 3) for ms in medians],
         "in_segments_ms": [round(level["p50_ms"], 3) for level in cut_table["levels"]]}
    )  # fmt: skip
    return rows, [
        at_least("rerouting: p99 of inferences hit by a burst lower by", 0.25, lower),
        at_least(
            "rerouting: accuracy of the worst switch point over the sparsest level's less 1 point", 0.0,
            round(min(points.values()) - (accuracy[0] - 0.01), 4),
        ),
    ]  # fmt: skip


@benchmark(
    "service",
    parts_option("part", _PARTS),
    click.option("--seconds", default=20.0, show_default=True, help="Of each worker."),
    click.option("--soak-minutes", default=1.0, show_default=True, help="Of the soak."),
    click.option("--folder", type=click.Path(path_type=Path), help="Keep bundles and recorded traces there."),
)
def main(
    quick: bool, parts: Sequence[str], seconds: float, soak_minutes: float, folder: Path | None
) -> Result:
    """Quality of service for real: interference, quotas, memory limits, rerouting and a soak."""
    rows: list[Row] = []
    claims: list[Claim] = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-service-") as temporary:
        traces = folder or Path(temporary)
        whole, cut = bundles(folder or Path(temporary))
        lasting = 4.0 if quick else seconds
        measures: dict[str, Callable[[], tuple[list[Row], list[Claim]]]] = {
            "bursts": lambda: _bursts(whole, lasting, traces / "bursts.csv"),
            "quota": lambda: _quota(whole, lasting),
            "memory": lambda: _memory(whole, lasting),
            "rerouting": lambda: _rerouting(whole, cut, lasting),
            "soak": lambda: soak(whole, 0.1 if quick else soak_minutes),
        }
        for name in parts or _PARTS:
            if name in ("bursts", "rerouting") and stress_ng() is None:
                rows.append({"part": name, "not_measured": "stress-ng is not installed"})
                continue
            found, said = measures[name]()
            load = [round(value, 2) for value in os.getloadavg()]
            rows += [row | {"load_1_5_15_min": load} for row in found]
            claims += said
    return Result(rows=rows, claims=claims)


if __name__ == "__main__":
    main()
