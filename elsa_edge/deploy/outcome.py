"""How to deploy, and what a deployment did: the values that go into bring.py and come out of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from elsa_edge.deploy.packages import PackagePlan, Wish
from elsa_edge.deploy.plan import Plan
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["Options", "Outcome", "Tell"]

Tell = Callable[[str], None]

_CHECKED: Final = {
    "own": "numbers at every level",
    "bring": "numbers at every level",
    "native": "numbers at every level, by the native client",
    "none": "hashes only",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to deploy.

    Attributes:
        packages: Whether Python packages are the device's own or travel; "auto" decides by what is there.
        wheels: A folder of wheels to bring instead of fetching them.
        trial_s: How long the first runs go on before the release counts as good.
        measure_s: How long to measure on the device afterwards; 0 for not at all.
        take_over: Take a lock whose owner will not come back.
        dry_run: Say what would be done, and do nothing.
        cache: Folder for fetched wheels.
        devices: Folder with what is known of devices, for the verifiers of those without Python; None for no verifier.
    """

    packages: Wish = "auto"
    wheels: Path | None = None
    trial_s: float = 2.0
    measure_s: float = 0.0
    take_over: bool = False
    dry_run: bool = False
    cache: Path = field(default_factory=lambda: Path(tempfile.gettempdir(), "elsa-edge"))
    devices: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a deployment did.

    Attributes:
        device: Its name.
        state: "unchanged", "planned", "deployed".
        plan: What was decided.
        packages: How elsa-edge runs there.
        moved_bytes: Bytes of files that were sent; on the line a little more for the conversation.
        verified: The answer of `verify` on the device; empty where nothing could ask for numbers there.
        first_runs: The answer of the first runs.
        profile: The device's profile with what was measured; None when nothing was.
    """

    device: str
    state: Literal["deployed", "unchanged", "planned"]
    plan: Plan
    packages: PackagePlan
    moved_bytes: int = 0
    verified: Mapping[str, Any] = field(default_factory=dict)
    first_runs: Mapping[str, Any] = field(default_factory=dict)
    profile: DeviceProfile | None = None

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        checked = (
            "nothing: it was in service already"
            if self.state == "unchanged"
            else "nothing: this was a dry run"
        )
        if self.state == "deployed":
            checked = f"{_CHECKED[self.packages.kind]}, on the device"
        return {
            "device": self.device,
            "state": self.state,
            "plan": self.plan.as_json(),
            "moved_bytes": self.moved_bytes,
            "packages": self.packages.kind,
            "packages_reason": self.packages.reason,
            "checked": checked,
            "verify": dict(self.verified),
            "first_runs": dict(self.first_runs),
        }
