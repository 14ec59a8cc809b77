"""What `elsa-edge` with one runtime takes on a disk: wheels that travel to a board, and an installation by pip here.

The board's wheels are those that `elsa-edge device wheels` fetches for its Python and C library; nothing is installed.
Here `pip install elsa-edge[ort]` fills a fresh environment, on whose PATH nothing else is; then a bundle is verified
and run in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.common import Claim, Result, Row, at_least, at_most, benchmark
from elsa_edge.deploy.facts import DeviceFacts, PythonFacts
from elsa_edge.deploy.packages import PackagePlan
from elsa_edge.deploy.wheels import collect_wheels
from elsa_edge.loading import default_cache

__all__ = ["main"]

_MB: Final = 1_000_000
_LIMIT_MB: Final = 150
_UNWANTED: Final = ("torch", "ninja", "cmake", "nvidia", "triton", "onnx-", "onnx_ir", "ziglang")
_PYTHON: Final = PythonFacts("/usr/bin/python3", (3, 11, 2), (2, 36))
_PI: Final = DeviceFacts(
    arch="aarch64",
    machine="aarch64",
    os="linux",
    model="Raspberry Pi",
    cores=4,
    features=("neon",),
    memory_bytes=4 << 30,
    available_bytes=3 << 30,
    page_bytes=4096,
    governor="",
    home="/home/pi",
    tools=frozenset({"sha256sum"}),
    pythons=(_PYTHON,),
)
_VARIANTS: Final = ("ort-switch", "ort-levels", "ort-nested")


@benchmark("install")
def main(quick: bool) -> Result:  # noqa: ARG001 - every benchmark has it
    """Weigh what a 64-bit Raspberry Pi with Debian 12 gets for ONNX Runtime, and what pip installs here."""
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch:
        board, board_claims = _board(Path(scratch))
        here, here_claims = _here(Path(scratch))
    return Result(rows=[*board, *here], claims=[*board_claims, *here_claims])


def _board(scratch: Path) -> tuple[list[Row], list[Claim]]:
    """Fetch the wheels of a board."""
    plan = PackagePlan("bring", _PYTHON, ("onnxruntime",), "to be weighed")
    wheels = collect_wheels(plan, _PI, default_cache() or scratch, lambda _: None)
    rows: list[Row] = [
        {
            "wheel": wheel.path.name,
            "mb": wheel.size_bytes / _MB,
            "unpacked_mb": wheel.unpacked_bytes / _MB,
        }
        for wheel in sorted(wheels, key=lambda wheel: -wheel.unpacked_bytes)
    ]
    total = sum(row["unpacked_mb"] for row in rows)
    compilers = [row["wheel"] for row in rows if row["wheel"].startswith(_UNWANTED)]
    return rows, [
        at_most("elsa-edge with ONNX Runtime on a 64-bit Raspberry Pi, MB unpacked", _LIMIT_MB, total),
        at_most("of its wheels, torch or a compiler", 0, len(compilers)),
    ]


def _here(scratch: Path) -> tuple[list[Row], list[Claim]]:
    """Install into a fresh environment, weigh it by package, and let it verify and run a bundle."""
    from benchmarks.common.prepare import prepare
    from elsa_edge.build import build_bundle

    project = Path(__file__).parents[1]
    _done(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(scratch / "dist")], cwd=project
    )
    (wheel,) = (scratch / "dist").glob("*.whl")
    environment = scratch / "environment"
    _done([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    # No compiler is found from there, and nothing may be built.
    alone = {**os.environ, "PATH": str(environment / "bin")}
    _done(
        [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install", "--quiet",
         "--only-binary=:all:", f"{wheel}[ort]"], env=alone,
    )  # fmt: skip
    packages = next((environment / "lib").glob("*/site-packages"))
    weights, bytecode = _weights(packages)
    (scratch / "network").mkdir()
    canonical = prepare("mlp", scratch / "network", (0.95, 0.9, 0.0)).canonical
    build_bundle(canonical, "generic-x86-64", scratch / "bundle", variants=_VARIANTS)
    ours = str(environment / "bin/elsa-edge")
    verified = json.loads(_done([ours, "verify", str(scratch / "bundle"), "--json"], env=alone))
    ran = json.loads(_done([ours, "run", str(scratch / "bundle"), "--seconds", "1", "--json"], env=alone))
    right = [variant["name"] for variant in verified["variants"] if variant["ok"]]
    unwanted = [name for name in weights if name.lower().startswith(_UNWANTED)]
    rows: list[Row] = [{"installed": name, "mb": size / _MB} for name, size in weights.most_common(12)]
    rows += [
        {"installed": "all packages", "mb": weights.total() / _MB, "bytecode_mb": bytecode / _MB,
         "variants_right_there": right, "runs_there": ran["runs"],
         "compiler_there": shutil.which("cc", path=alone["PATH"])}
    ]  # fmt: skip
    return rows, [
        at_most(f"elsa-edge[ort] as pip installs it on {os.uname().machine}, MB, without Python's bytecode",
                _LIMIT_MB, weights.total() / _MB),
        at_most(f"the same with bytecode, on {os.uname().machine}", _LIMIT_MB, (weights.total() + bytecode) / _MB),
        at_most("of what pip has installed, torch or a compiler", 0, len(unwanted)),
        at_least("variants of a bundle that are right there, without a compiler", len(_VARIANTS), len(right)),
    ]  # fmt: skip


def _weights(packages: Path) -> tuple[Counter[str], int]:
    """Return bytes by top folder, without Python's bytecode, and those of the bytecode."""
    weights: Counter[str] = Counter()
    bytecode = 0
    for path in packages.rglob("*"):
        if not path.is_file():
            continue
        if path.suffix == ".pyc":
            bytecode += path.stat().st_size
        else:
            weights[path.relative_to(packages).parts[0]] += path.stat().st_size
    return weights, bytecode


def _done(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} ...\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
