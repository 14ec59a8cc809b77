"""`elsa-edge device unit` under a real systemd: ready, hung, dead, and after power was lost in first runs.

The unit is what the command writes, for a store of this machine; systemd is Debian's, see live_systemd.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.common import Claim, Result, Row, at_least, benchmark
from benchmarks.live_systemd import Booted, booted, lacks, lent_by_this_python

__all__ = ["main", "scenario", "workplace"]

_LONGEST_S: Final = 90
_PLACE: Final = Path(__file__).resolve().parents[1] / ".cache" / "unit"
_APPLICATION: Final = '''"""Runs until a file tells it to hang or to die."""
import os, sys, time
from pathlib import Path
from elsa_edge.bundle import open_bundle
from elsa_edge.session import AdaptiveSession
from elsa_edge.telemetry.systemd import Watchdog

store, place = Path(sys.argv[1]), Path(sys.argv[2])
inputs = open_bundle(store / "current/bundle").golden.inputs
session = AdaptiveSession.open(store / "current/bundle", store / "current/device.yaml", on_run=Watchdog())
session.run(inputs)
with (place / "starts").open("a") as log:
    log.write((store / "current").readlink().name + "\\n")
while True:
    session.run(inputs)
    time.sleep(0.05)
    if (place / "hang").exists():
        (place / "hang").unlink()
        time.sleep(3600)
    if (place / "die").exists():
        (place / "die").unlink()
        os._exit(3)
'''


@contextmanager
def workplace() -> Iterator[Path]:
    """Give a folder that a unit with a /tmp of its own sees, until the block ends."""
    _PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_PLACE.resolve()) as folder:  # .cache may be a link
        yield Path(folder)


def _ours(folder: Path, *words: str) -> None:
    environment = {**os.environ, "ELSA_EDGE_DEVICES": str(folder / "devices")}
    command = [sys.executable, "-m", "elsa_edge", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")


def _starts(folder: Path) -> list[str]:
    path = folder / "starts"
    return path.read_text().split() if path.exists() else []


def _until(true: Callable[[], bool]) -> bool:
    """Wait for something; return whether it came."""
    end = time.monotonic() + _LONGEST_S
    while not (came := true()) and time.monotonic() < end:
        time.sleep(0.1)
    return came


def scenario(folder: Path, bundles: tuple[Path, Path]) -> list[Row]:
    """Deploy, write the unit by its command, and live through what it is for; return a row for each thing that came.

    Args:
        folder: For everything.
        bundles: Two releases, the older first.
    """
    store, script, unit = folder / "store", folder / "application.py", folder / "unit.service"
    script.write_text(_APPLICATION)
    _ours(folder, "device", "add", "here", "local:", "--root", str(store), "--python", sys.executable)
    for bundle in bundles:
        _ours(
            folder,
            "deploy",
            str(bundle),
            "--to",
            "here",
            "--packages",
            "own",
            "--trial",
            "0.2",
            "--measure",
            "0",
        )
    older, newer = ((store / name).read_text().strip() if name == "previous" else (store / name).readlink().name
                    for name in ("previous", "current"))  # fmt: skip
    _ours(
        folder, "device", "unit", "here", str(script), str(store), str(folder), "--user", "root", "--watchdog", "5",
        "-o", str(unit),
    )  # fmt: skip
    lent = [*lent_by_this_python(), folder]
    rows: list[Row] = []
    with booted(folder / "first-boot", unit.read_text(), lent) as machine:
        rows.append(
            _row(
                "started by systemd, and ready",
                _until(lambda: _active(machine) and len(_starts(folder)) >= 1),
                folder,
                machine,
            )
        )
        (folder / "hang").touch()
        rows.append(
            _row(
                "hung: killed by the watchdog and started again",
                _until(lambda: len(_starts(folder)) >= 2),
                folder,
                machine,
            )
        )
        (folder / "die").touch()
        rows.append(_row("died: started again", _until(lambda: len(_starts(folder)) >= 3), folder, machine))
    # As if power had been lost in the newer release's first runs, which it does not survive.
    release = store / "releases" / newer
    (release / "good").unlink()
    (release / "came_from").write_text(older + "\n")
    for model in (release / "bundle").rglob("*.onnx"):
        model.chmod(0o644)
        model.write_bytes(b"lost")
    with booted(folder / "second-boot", unit.read_text(), lent) as machine:
        came = _until(lambda: len(_starts(folder)) >= 4)
        row = _row(
            "power lost in first runs: the next start returns to the release before", came, folder, machine
        )
    back = (store / "current").readlink().name == older
    return [*rows, {**row, "came": came and back and _starts(folder)[-1:] == [older]}]


def _active(machine: Booted) -> bool:
    return machine.told("ActiveState", "StatusText").get("ActiveState") == "active"


def _row(what: str, came: bool, folder: Path, machine: Booted) -> Row:
    told = machine.told("ActiveState", "NRestarts", "StatusText", "WatchdogUSec")
    return {"what": what, "came": came, "starts": len(_starts(folder)), **told}


@benchmark("unit")
def main(quick: bool) -> Result:  # noqa: ARG001 - every benchmark has it
    """Run the unit of a release under a real systemd."""
    if lack := lacks():
        raise RuntimeError(f"this needs {lack}")
    from benchmarks.common.prepare import prepare
    from elsa_edge.build import build_bundle

    with workplace() as folder:
        made = []
        for name, ladder in (("older", (0.95, 0.0)), ("newer", (0.9, 0.0))):
            (folder / name).mkdir()
            made.append(folder / name / "bundle")
            build_bundle(
                prepare("mlp", folder / name, ladder).canonical,
                "generic-x86-64",
                made[-1],
                variants=["ort-levels"],
            )
        rows = scenario(folder, (made[0], made[1]))
    return Result(rows=rows, claims=_claims(rows))


def _claims(rows: list[Row]) -> list[Claim]:
    return [at_least(str(row["what"]), 1, int(row["came"])) for row in rows]


if __name__ == "__main__":
    main()
