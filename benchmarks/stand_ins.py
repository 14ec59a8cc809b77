"""A fleet of stand-ins: folders of this machine without Python, in a process that imports only the deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from elsa_edge.deploy import Device, Options, deploy, look
from elsa_edge.deploy.fleet import State, roll_out
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.transport import LocalTransport
from elsa_edge.deploy.waves import parse_limit, parse_waves

__all__ = ["FAILING", "fleet"]

FAILING: Final = 20  # every twentieth fails


def fleet(bundle: str, folder: str, count: int) -> dict[str, Any]:
    """Roll a bundle out to stand-ins in folders, every twentieth of which fails, twice: strict, then patient."""
    stores = Path(folder)
    stores.mkdir(parents=True)
    facts, _ = look(LocalTransport(), Device("here", "local:", str(stores / "none"), "/nonexistent"))
    profile = profile_of("here", facts)
    names = [f"d{number:03d}" for number in range(count)]
    for name in names[7::FAILING]:
        (stores / name).touch()  # a file where the store should be

    def one(name: str) -> tuple[State, int]:
        device = Device(name, "local:", str(stores / name), "/nonexistent")
        outcome = deploy(
            Path(bundle), device, profile, Options(packages="none", trial_s=0.0), tell=lambda _: None
        )
        return outcome.state, outcome.moved_bytes

    waves = parse_waves("1,10%,50%,100%")
    strict = roll_out(
        names, one, waves=waves, most_failures=parse_limit("2%"), at_once=8, tell=lambda _: None
    )
    patient = roll_out(
        names, one, waves=waves, most_failures=parse_limit("10%"), at_once=8, tell=lambda _: None
    )
    peak_kb = next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    serving = sum(1 for name in names if (stores / name / "current" / "bundle" / "manifest.json").is_file())
    return {
        "strict": _counts(strict.as_json()),
        "patient": _counts(patient.as_json()),
        "peak_mb": peak_kb / 1000,
        "serving": serving,
        "stopped_after_wave": strict.stopped,
    }


def _counts(report: dict[str, Any]) -> dict[str, Any]:
    return {"waves": report["waves"], "stopped_after_wave": report["stopped_after_wave"], **report["counts"]}
