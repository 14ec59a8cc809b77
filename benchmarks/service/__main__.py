"""Quality of service for real: interference, quotas, heat, memory limits, rerouting and a soak, in real processes.

    python -m benchmarks.service                                  all parts; the soak lasts 30 minutes
    python -m benchmarks.service --part bursts --part quota       only these; the others keep their committed rows
    python -m benchmarks.service --resume                         go on where an earlier call of this tree ended

    bursts     stress-ng on the service's core; adaptive, always dense, always sparsest
    quota      the core's share in steps 100 -> 50 -> 25 -> 100 %
    thermal    a falling clock and the temperatures that go with it, below a root of our own
    memory     the memory limit lowered while the network runs, and raised again
    shared     two services in one memory limit that has room for one dense level, with and without a ledger
    rerouting  short bursts: the network in segments against the same network whole
    costs      processor time of a reading of the probes and of a decision
    soak       examples/camera_service at 80 % load: its memory, errors and late answers

Each part runs real processes pinned to one core; durations are in the rows, and so are the load of the machine, which
others may share, and the commit. With `--nice -10` (as root) workers and disturbances go before the programs of others.
What cannot be done here (no stress-ng, no control groups) is reported as such, and a part that fails ends as a row.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import RESULTS, Claim, Result, Row, benchmark, context, parts_option
from benchmarks.service.bursts import measure_bursts
from benchmarks.service.costs import measure_costs
from benchmarks.service.disturb import stress_ng
from benchmarks.service.frame import Frame, Worker, frame, last_core
from benchmarks.service.memory import measure_memory
from benchmarks.service.network import bundles
from benchmarks.service.quota import measure_quota, measure_thermal
from benchmarks.service.reroute import measure_rerouting
from benchmarks.service.shared import measure_shared
from benchmarks.service.soak import soak
from elsa_edge.errors import ElsaError
from elsa_edge.files import write_bytes

_PARTS: Final = ("bursts", "quota", "thermal", "memory", "shared", "rerouting", "costs", "soak")
_NEED_STRESS_NG: Final = ("bursts", "rerouting")
_FOLDER: Final = Path(tempfile.gettempdir()) / "elsa-edge-service"

Part = tuple[list[Row], list[Claim]]


def measure(name: str, folder: Path, worker: Worker, soak_minutes: float, soak_share: float) -> Part:
    """Measure one part."""
    if name in _NEED_STRESS_NG and stress_ng() is None:
        return [{"part": name, "not_measured": "stress-ng is not installed (package stress-ng)"}], []
    if name == "costs":
        return measure_costs()
    if name == "soak":
        return soak(folder, soak_minutes, share=soak_share, core=worker.core)
    made = bundles(folder / "networks")

    def of(place: Path) -> Frame:
        return frame(place, worker)

    trace = folder / f"{name}.csv"
    parts: dict[str, Callable[[], Part]] = {
        "bursts": lambda: measure_bursts(of(made.whole), trace),
        "quota": lambda: measure_quota(of(made.whole), trace),
        "thermal": lambda: measure_thermal(of(made.whole), trace, folder / "root"),
        "memory": lambda: measure_memory(of(made.files), trace),
        "shared": lambda: measure_shared(of(made.files), folder),
        "rerouting": lambda: measure_rerouting(of(made.whole), of(made.cut)),
    }
    return parts[name]()


def kept(parts: Sequence[str], results: Path) -> Part:
    """Return the committed rows and claims of parts that are not measured now."""
    try:
        found: dict[str, Any] = json.loads(results.read_text())
    except FileNotFoundError:
        return [], []
    claims = [
        Claim(claim["claim"], claim["target"], claim["measured"], claim["holds"])
        for claim in found["claims"]
        if claim["claim"].partition(":")[0] in parts
    ]
    return [row for row in found["rows"] if row["part"] in parts], claims


def _finished(file: Path, commit: object) -> Part | None:
    """Return what an earlier call has measured of this tree, if it has."""
    if not file.is_file():
        return None
    found = json.loads(file.read_text())
    if found["commit"] != commit:
        return None
    return found["rows"], [Claim(**claim) for claim in found["claims"]]


@benchmark(
    "service",
    parts_option("part", _PARTS),
    click.option("--seconds", default=24.0, show_default=True, help="Of each worker."),
    click.option("--soak-minutes", default=30.0, show_default=True, help="Of the soak."),
    click.option(
        "--soak-share", default=1.0, show_default=True, help="Of a core that the soaked service may use."
    ),
    click.option(
        "--nice", default=0, show_default=True, help="Of workers and disturbances; below 0 as root."
    ),
    click.option("--resume", is_flag=True, help="Keep parts that an earlier call has finished."),
    click.option(
        "--folder",
        type=click.Path(path_type=Path),
        default=_FOLDER,
        show_default=True,
        help="For networks, recorded traces and finished parts.",
    ),
)
def main(  # noqa: PLR0917 - one parameter per option
    quick: bool,
    parts: Sequence[str],
    seconds: float,
    soak_minutes: float,
    soak_share: float,
    nice: int,
    resume: bool,
    folder: Path,
) -> Result:
    """Quality of service for real: interference, quotas, heat, memory limits, rerouting and a soak."""
    folder.mkdir(parents=True, exist_ok=True)
    worker = Worker(core=last_core(), nice=nice, seconds=6.0 if quick else seconds)
    commit = context()["commit"]
    wanted = parts or _PARTS
    rows, claims = kept([name for name in _PARTS if name not in wanted], RESULTS / "service.json")
    for name in wanted:
        file = folder / f"part-{name}.json"
        part = _finished(file, commit) if resume else None
        if part is None:
            load = [round(value, 2) for value in os.getloadavg()]
            try:
                found, said = measure(name, folder, worker, 0.1 if quick else soak_minutes, soak_share)
            except ElsaError as error:
                found, said = [{"part": name, "error": str(error)}], []
            stamp = {"nice": nice, "commit": commit, "load_before": load}
            part = [row | stamp | {"load_after": round(os.getloadavg()[0], 2)} for row in found], said
            kept_part = {"commit": commit, "rows": part[0], "claims": [asdict(claim) for claim in said]}
            write_bytes(file, json.dumps(kept_part).encode())
        rows += part[0]
        claims += part[1]
    rows.sort(key=lambda row: _PARTS.index(row["part"]))
    return Result(rows=rows, claims=claims)


if __name__ == "__main__":
    main()
