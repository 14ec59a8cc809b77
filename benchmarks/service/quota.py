"""The core's share in steps 100 -> 50 -> 25 -> 100 %, as a container's CPU limit; and the same as a hot device has it.

quota    the steps alone: how soon the policy holds again, how often the level changes on a plateau
thermal  the clock falls as the temperature rises, which is read from files as the kernel writes them
"""

from __future__ import annotations

import itertools
import subprocess
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.common import Claim, Row, at_most
from benchmarks.service.disturb import Group, group
from benchmarks.service.frame import Frame, Run, go, runs_until_inside, serve

__all__ = ["measure_quota", "measure_thermal"]

_BUDGET: Final = 1.7
_PERIOD: Final = 1.9  # of inferences, both in medians of the densest level
_LIMIT_C: Final = 75.0


class _Stage(NamedTuple):
    share: float
    celsius: float = 50.0


_STEPS: Final = (_Stage(1.0), _Stage(0.5), _Stage(0.25), _Stage(1.0))
_STAIRCASE: Final = (
    _Stage(1.0, 55.0),
    _Stage(1.0, 68.0),
    _Stage(0.7, 80.0),
    _Stage(0.5, 84.0),
    _Stage(1.0, 80.0),
    _Stage(1.0, 60.0),
)


def _through(
    here: Frame, stages: tuple[_Stage, ...], held: Group, root: Path | None, trace: Path
) -> list[tuple[_Stage, list[Run]]]:
    """Serve while the stages pass; return the runs of each."""
    dense_ms = here.medians_ms[-1]
    more: dict[str, Any] = {} if root is None else {"root": str(root), "temperature_limit_c": _LIMIT_C}
    wish = here.wish(budget_ms=_BUDGET * dense_ms, period_ms=_PERIOD * dense_ms, record=str(trace), **more)
    trace.unlink(missing_ok=True)
    marks: list[float] = []
    lasting = here.worker.seconds / len(stages)

    def steer(process: subprocess.Popen[str]) -> None:
        held.set_priority(here.worker.nice)
        held.set_quota(stages[0].share)
        _heat(root, stages[0].celsius)
        go(process)
        began = time.monotonic()
        for stage in stages:
            held.set_quota(stage.share)
            _heat(root, stage.celsius)
            marks.append(time.monotonic() - began)
            time.sleep(lasting)
        held.set_quota(None)

    runs = serve(here, wish, steer, group=held)
    ends = [*marks[1:], here.worker.seconds]
    return [
        (stage, [run for run in runs if start <= run.end_s < end])
        for stage, start, end in zip(stages, marks, ends, strict=True)
    ]


def _heat(root: Path | None, celsius: float) -> None:
    if root is not None:
        zone = root / "sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "temp").write_text(f"{celsius * 1000:.0f}\n")


def measure_quota(here: Frame, trace: Path) -> tuple[list[Row], list[Claim]]:
    """Serve in a control group whose share of the core falls and rises."""
    words = ("quota: runs until back inside the policy after a step", "quota: switches on a plateau")
    with group("cpu") as held:
        if held is None:
            return [{"part": "quota", "not_measured": "no control group of CPU can be made here"}], [
                at_most(words[0], 20, None),
                at_most(words[1], 2, None),
            ]
        stages = _through(here, _STEPS, held, None, trace)
    budget_ms = _BUDGET * here.medians_ms[-1]
    rows: list[Row] = [
        {
            "part": "quota",
            "share": stage.share,
            "runs_until_inside": runs_until_inside([run.latency_ms > budget_ms for run in runs]),
            "last_level": runs[-1].level,
            **here.row(runs, budget_ms),
        }
        for stage, runs in stages
        if runs
    ]
    return rows, [
        at_most(words[0], 20, max(row["runs_until_inside"] for row in rows)),
        at_most(words[1], 2, max(row["switches"] for row in rows)),
    ]


def measure_thermal(here: Frame, trace: Path, root: Path) -> tuple[list[Row], list[Claim]]:
    """Serve while the device seems to heat up: `root` holds its temperature, a quota is its clock."""
    words = "thermal: changes to a denser level while the device is hot"
    with group("cpu") as held:
        if held is None:
            return [{"part": "thermal", "not_measured": "no control group of CPU can be made here"}], [
                at_most(words, 0, None)
            ]
        stages = _through(here, _STAIRCASE, held, root, trace)
    budget_ms = _BUDGET * here.medians_ms[-1]
    rows: list[Row] = [
        {
            "part": "thermal",
            "share": stage.share,
            "celsius": stage.celsius,
            # The first quarter of a second is that of the latest reading of the stage before.
            "raised": sum(
                b.level > a.level and a.end_s > runs[0].end_s + 0.3 for a, b in itertools.pairwise(runs)
            ),
            "last_level": runs[-1].level,
            **here.row(runs, budget_ms),
        }
        for stage, runs in stages
        if runs
    ]
    hot = [row["raised"] for row in rows if row["celsius"] >= _LIMIT_C]
    return rows, [at_most(words, 0, sum(hot))]
