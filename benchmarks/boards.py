"""From a fresh ARM userland with Python and an SSH server to a verified running bundle, by people's commands.

Debian's own ARM packages under qemu-user, behind a real sshd; wheels of the real ARM runtimes travel there, with the
kernels that a cross compiler made. Numbers are checked on the board by `elsa-edge verify`; times are of the emulator
and no claim. Each board: add, deploy, deploy again, cut the next one, deploy it, roll back, run there, doctor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import Claim, Result, Row, at_least, benchmark, parts_option
from benchmarks.sshd import SSHD, Server, server
from benchmarks.userland import Userland, missing_tools, userland
from benchmarks.wire import Wire
from elsa_edge.runtime_adapters.kernels.build import TARGETS, ensure_library, find_compiler

__all__ = ["VARIANTS", "Board", "bundles", "lacks", "main", "scenario"]

VARIANTS: Final = {
    "arm64": ("ort-switch", "ort-levels", "ort-nested", "ort-nested-int8"),
    "armhf": ("tflite-levels",),
}
_LADDER: Final = (0.95, 0.9, 0.0)
_OTHER_LADDER: Final = (0.95, 0.8, 0.0)
_TRIAL: Final = ("--trial", "1", "--measure", "0")
_CUT_AFTER_BYTES: Final = 400_000  # on the line, of the second release's megabytes


@dataclass
class Board:
    """A stand-in that is reached over ssh, and what people's commands there and here said.

    Attributes:
        folder: Everything of it: the userland, keys, devices, bundles.
        there: Its file system.
        line: The SSH server in front of it.
        wire: What goes to the server passes through it.
        steps: A row for each command.
    """

    folder: Path
    there: Userland
    line: Server
    wire: Wire
    steps: list[Row] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The store there, as it is seen from here."""
        return self.there.root / "home/pi/elsa-edge"

    @property
    def profile(self) -> Path:
        """The board's profile."""
        return self.folder / "devices" / "board.yaml"

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ, "PATH": self.line.path(), "ELSA_EDGE_DEVICES": str(self.folder / "devices"),
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command of ours, here."""
        command = [sys.executable, "-m", "elsa_edge", *words]
        return subprocess.Popen(
            command, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def ours(self, *words: str) -> dict[str, Any]:
        """Run a command of ours here, and return what it says as JSON.

        Raises:
            RuntimeError: When it fails, with what it said.
        """
        began = time.perf_counter()
        process = self.start(*words, "--json")
        output, said = process.communicate()
        return self._told(" ".join(words[:2]), process.returncode, output, said, began)

    def theirs(self, *words: str) -> dict[str, Any]:
        """Run the command of the release in service on the board."""
        began = time.perf_counter()
        done = self.there.run("/home/pi/elsa-edge/current/elsa-edge", *words, "--json")
        return self._told(f"on the board: {words[0]}", done.returncode, done.stdout, done.stderr, began)

    def _told(self, step: str, status: int, output: str, said: str, began: float) -> dict[str, Any]:
        if status:
            raise RuntimeError(f"{step} failed with status {status}:\n{output[-1500:]}{said[-1500:]}")
        self.steps.append({"step": step, "seconds": round(time.perf_counter() - began, 1)})
        told: dict[str, Any] = json.loads(output)
        return told

    def serves(self) -> str:
        """Return the release in service."""
        return (self.store / "current").readlink().name


def bundles(board: Board, name: str, variants: Sequence[str]) -> list[Path]:
    """Build a network for the board's own profile, twice: in the second bundle the level in the middle is another."""
    from benchmarks.common.prepare import prepare
    from elsa_edge.build import build_bundle

    made = []
    for folder, ladder in (("first", _LADDER), ("second", _OTHER_LADDER)):
        place = board.folder / f"built {folder}"
        place.mkdir()
        made.append(board.folder / folder)
        build_bundle(prepare(name, place, ladder).canonical, str(board.profile), made[-1], variants=variants)
    return made


def lacks(name: str) -> list[str]:
    """Return the Debian packages that this machine lacks for a board and a server in front of it."""
    server_is_missing = [] if SSHD else ["openssh-server"]
    compiler = find_compiler(TARGETS["linux-aarch64"]) if name == "arm64" else ("not needed",)
    return [*missing_tools(name), *server_is_missing, *([] if compiler else ["g++-aarch64-linux-gnu"])]


def scenario(name: str, folder: Path, net: str = "mlp", variants: Sequence[str] | None = None) -> Row:
    """Take a fresh board through everything that people do with one, and return what happened."""
    if missing := lacks(name):
        raise RuntimeError(f"missing here: apt-get install {' '.join(missing)}")
    folder.mkdir(parents=True)
    if name == "arm64":
        ensure_library("linux-aarch64")
    there = userland(name, folder / "userland")
    pristine = sorted(path.name for path in (there.root / "home/pi").iterdir())
    has_pip = there.run("python3", "-c", "import pip").returncode == 0
    with server(folder / "sshd", force_command=str(there.enter)) as line, Wire(line.port) as wire:
        line.know(wire.port)
        board = Board(folder, there, line, wire)
        facts = board.ours("device", "add", "board", f"ssh://127.0.0.1:{wire.port}")
        first, second = bundles(board, net, variants or VARIANTS[name])
        deployed = board.ours("deploy", str(first), "--to", "board", "--trial", "1", "--measure", "0.5")
        return {
            "board": name, "home_was": pristine, "pip_there": has_pip,
            "facts": {key: facts.get(key) for key in ("machine", "model", "python", "features", "packages")},
            "variants": list(variants or VARIANTS[name]),
            "deployed": deployed.get("state"), "packages": deployed.get("packages"),
            "levels_verified_there": _verified(deployed.get("verify", {})),
            "first_runs": deployed.get("first_runs", {}).get("runs"),
            "moved_bytes": deployed.get("moved_bytes"), "table_came_home": "measured:" in board.profile.read_text(),
            **_afterwards(board, first, second),
            "steps": board.steps,
        }  # fmt: skip


def _verified(answer: dict[str, Any]) -> dict[str, int]:
    """Variant -> levels whose numbers were right there."""
    return {
        variant["name"]: sum(bool(level["ok"]) for level in variant["levels"])
        for variant in answer.get("variants", [])
        if variant["ok"]
    }


def _afterwards(board: Board, first: Path, second: Path) -> Row:
    """Deploy again, cut the next release on its way, deploy it, return to the first, run it there."""
    again = board.ours("deploy", str(first), "--to", "board", *_TRIAL)
    old = board.serves()
    arrived, status = _cut(board, second)
    after_cut = board.serves()
    new = board.ours("deploy", str(second), "--to", "board", *_TRIAL)
    served = board.serves()
    board.ours("deploy", "--rollback", "--to", "board")
    back = board.serves()
    ran = board.theirs(
        "run",
        "/home/pi/elsa-edge/current/bundle",
        "--device",
        "/home/pi/elsa-edge/current/device.yaml",
        "--seconds",
        "2",
    )
    doctor = board.theirs("doctor")
    return {
        "again": again.get("state"), "arrived_before_the_cut_bytes": arrived, "cut_status": status,
        "old_served_after_cut": after_cut == old,
        "deployed_after_cut": new.get("state"), "serves_new": served == new.get("plan", {}).get("release"),
        "rolled_back": back == old, "runs_under_the_controller": ran.get("runs"),
        "doctor": [finding for finding in doctor.get("findings", []) if finding["state"] != "ok"],
    }  # fmt: skip


def _cut(board: Board, bundle: Path) -> tuple[int, int]:
    """Kill everything on the board once so many bytes have passed; return what had arrived there, and our status."""
    board.wire.hold_after(_CUT_AFTER_BYTES)
    deploying = board.start("deploy", str(bundle), "--to", "board", *_TRIAL)
    while not board.wire.holds.wait(0.05) and deploying.poll() is None:
        pass
    board.line.kill_sessions()
    arrived = sum(path.stat().st_size for path in (board.store / "incoming").iterdir())
    board.wire.let_go()
    deploying.communicate()
    return arrived, deploying.returncode


@benchmark(
    "boards",
    click.option("--board", "only", type=click.Choice(sorted(VARIANTS)), help="Only this one."),
    parts_option("variant", [*VARIANTS["arm64"], *VARIANTS["armhf"]]),
)
def main(quick: bool, only: str | None, variants: tuple[str, ...]) -> Result:
    """Put a bundle onto emulated boards, over a real SSH server."""
    names = [only] if only else ["arm64"] if quick else list(VARIANTS)
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch:
        rows = [scenario(name, Path(scratch, name), variants=variants or None) for name in names]
    return Result(rows=rows, claims=[claim for row in rows for claim in _claims(row)])


def _claims(row: Row) -> list[Claim]:
    name, wanted = row["board"], row["variants"]
    levels = row["levels_verified_there"]
    return [
        at_least(f"{name}: variants whose numbers are right there, at every level", len(wanted),
                 sum(levels.get(variant) == len(_LADDER) for variant in wanted)),
        at_least(f"{name}: deployed and measured there, by one `device add` and one `deploy`", 1,
                 int(row["deployed"] == "deployed" and row["table_came_home"] and not row["pip_there"])),
        at_least(f"{name}: after a cut the old release is served and the next deployment succeeds", 1,
                 int(row["cut_status"] != 0 and row["old_served_after_cut"] and row["deployed_after_cut"] == "deployed"
                     and row["serves_new"])),
        at_least(f"{name}: rolled back, and runs there under the controller", 1,
                 int(row["rolled_back"] and bool(row["runs_under_the_controller"]))),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
