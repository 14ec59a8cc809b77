"""Many devices: wave after wave, a bounded number at a time, and a stop when too many fail, each said by name.

For a few hundred devices that this machine can reach. Beyond that, or for devices behind a firewall, a fleet server is
the tool; `elsa-edge deploy --export` writes what those take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

from elsa_edge.deploy.waves import Limit, split
from elsa_edge.errors import ElsaError

__all__ = ["FleetReport", "Result", "read_names", "roll_out"]

_LONGEST_REASON: Final = 400

State = Literal["deployed", "unchanged", "planned", "failed", "not reached"]


@dataclass(frozen=True, slots=True)
class Result:
    """How one device came out of it.

    Attributes:
        device: Its name.
        state: What happened; "not reached" when the roll-out had stopped before.
        wave: Its wave, from 1.
        moved_bytes: What was sent.
        reason: Why it failed.
    """

    device: str
    state: State
    wave: int
    moved_bytes: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The whole roll-out.

    Attributes:
        results: One for each device, in the order given.
        waves: Devices of each wave.
        stopped: The wave after which it stopped because too many had failed; None when it went through.
    """

    results: tuple[Result, ...]
    waves: tuple[int, ...]
    stopped: int | None

    @property
    def ok(self) -> bool:
        """Whether every device has it."""
        return all(result.state not in ("failed", "not reached") for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "ok": self.ok,
            "waves": list(self.waves),
            "stopped_after_wave": self.stopped,
            "counts": dict(Counter(result.state for result in self.results)),
            "devices": [
                {
                    "device": r.device,
                    "state": r.state,
                    "wave": r.wave,
                    "moved_bytes": r.moved_bytes,
                    "reason": r.reason,
                }
                for r in self.results
            ],
        }


def roll_out(
    names: Sequence[str],
    one: Callable[[str], tuple[State, int]],
    *,
    waves: Sequence[Limit],
    most_failures: Limit,
    at_once: int,
    tell: Callable[[str], None],
) -> FleetReport:
    """Deploy to every device, wave by wave.

    After each wave the failures of all waves so far are counted against `most_failures` of all devices; the next wave
    begins only within it. Inside a wave nothing is stopped: its devices have begun.

    Args:
        names: The devices.
        one: Deploys to one device and returns what happened and how many bytes were sent; raises `ElsaError`.
        waves: How many devices have it after each wave.
        most_failures: How many may fail.
        at_once: Devices at a time, and so lines and memory.
        tell: Called with a line after each wave.
    """
    results: dict[str, Result] = {}
    groups = split(names, waves)
    stopped = None
    for number, group in enumerate(groups, start=1):
        if stopped is None:
            with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="deploy") as pool:
                for result in pool.map(lambda name: _attempt(name, one, number), group):  # noqa: B023 - run in the loop
                    results[result.device] = result
            failed = sum(result.state == "failed" for result in results.values())
            tell(f"wave {number} of {len(groups)}: {len(group)} devices, {failed} failed so far")
            if failed > most_failures.of(len(names)):
                stopped = number
        else:
            results |= {name: Result(name, "not reached", number) for name in group}
    return FleetReport(tuple(results[name] for name in names), tuple(map(len, groups)), stopped)


def _attempt(name: str, one: Callable[[str], tuple[State, int]], wave: int) -> Result:
    try:
        state, moved_bytes = one(name)
    except (ElsaError, OSError) as error:
        return Result(name, "failed", wave, reason=str(error)[:_LONGEST_REASON])
    return Result(name, state, wave, moved_bytes)


def read_names(text: str) -> list[str]:
    """Return the devices that a list names, once each: one a line or separated by commas; `#` begins a comment."""
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return list(dict.fromkeys(name for line in lines for name in line.replace(",", " ").split()))
