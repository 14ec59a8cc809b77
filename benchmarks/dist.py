"""What `make dist` made, each file installed in a clean environment: the command answers, and a bundle runs.

    x86-64 wheel    a new virtual environment; `-V`; the quickstart, with its report
    sources         a new virtual environment, where the kernels are compiled; `-V`
    64-bit ARM      Debian's own Python for ARM under qemu-user; `-V`; the quickstart's bundle verified there

Packages come from where pip of this machine finds them. Run `make dist` first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Result, Row, at_least, benchmark
from benchmarks.userland import missing_tools, userland

__all__ = ["main"]

_ROOT: Final = Path(__file__).resolve().parents[1]
_DIST: Final = _ROOT / "dist"
_CONSTRAINTS: Final = _ROOT / "requirements" / "constraints.txt"
# What an ARM board with Debian 12 takes.
_ARM: Final = (
    "--platform",
    "manylinux_2_28_aarch64",
    "--platform",
    "manylinux_2_18_aarch64",
    "--platform",
    "manylinux2014_aarch64",
)
_KEPT: Final = ("PATH", "LANG", "TMPDIR", *(name for name in os.environ if name.startswith("PIP_")))


def _done(words: Sequence[str | Path], **options: Any) -> tuple[str, float]:
    began_s = time.monotonic()
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        message = f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise RuntimeError(message)
    return done.stdout.strip(), time.monotonic() - began_s


def _made(pattern: str) -> Path:
    found = sorted(_DIST.glob(pattern))
    if len(found) != 1:
        message = f"dist/ has {len(found)} files {pattern}: run make dist"
        raise RuntimeError(message)
    return found[0]


def _unpacked_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _in_a_new_environment(file: Path, extra: str, folder: Path, quickstart: Path | None) -> Row:
    """Install a file in a new virtual environment and ask it who it is; run the quickstart where a place is given."""
    home = folder / "home"
    home.mkdir(parents=True)
    clean = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"HOME": str(home)}
    _done([sys.executable, "-m", "venv", folder / "venv"], env=clean)
    python = str(folder / "venv/bin/python")
    pip = [python, "-m", "pip", "--quiet", "install"]
    _, seconds = _done(
        [*pip, "--constraint", str(_CONSTRAINTS), f"elsa-edge[{extra}] @ {file.as_uri()}"], env=clean
    )
    command = folder / "venv/bin/elsa-edge"
    version, _ = _done([command, "-V"], env=clean, cwd=home)
    row: Row = {
        "file": file.name,
        "where": "a new virtual environment",
        "extra": extra,
        "install_s": seconds,
        "unpacked_mb": _unpacked_mb(folder / "venv"),
        "version": version,
        "kernels": any((folder / "venv").rglob("libelsa_nested.so")),
        "ran": "",
        "run_s": None,
    }
    if quickstart is not None:
        _, row["run_s"] = _done([command, "quickstart", "--out", quickstart], env=clean, cwd=home)
        row["ran"] = f"quickstart, report of {(quickstart / 'report.html').stat().st_size} bytes"
    return row


def _on_arm(wheel: Path, folder: Path, bundle: Path | None) -> Row:
    """Unpack a wheel and what it needs for ARM, and run it under emulation."""
    site = folder / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "install",
        "--target",
        str(site),
        "--only-binary=:all:",
        *_ARM,
    ]
    version = ["--implementation", "cp", "--python-version", "3.11"]
    _, seconds = _done([*pip, *version, f"elsa-edge[ort] @ {wheel.as_uri()}"])
    board = userland("arm64", folder / "board")
    inside = board.root / "home/pi"
    shutil.copytree(site, inside / "site")
    words = ["/usr/bin/env", "PYTHONPATH=/home/pi/site", "python3", "-m", "elsa_edge"]
    row: Row = {
        "file": wheel.name,
        "where": "emulated 64-bit ARM, Debian's Python",
        "extra": "ort",
        "install_s": seconds,
        "unpacked_mb": _unpacked_mb(site),
        "version": _done([board.enter, *words, "-V"])[0],
        "kernels": any(site.rglob("libelsa_nested.so")),
        "ran": "",
        "run_s": None,
    }
    if bundle is not None:
        shutil.copytree(bundle, inside / "bundle")
        verify = ["verify", "bundle", "--json", "--cache", "/tmp/cache"]  # noqa: S108 - the board's own
        said, row["run_s"] = _done([board.enter, *words, *verify])
        right = {v["name"]: len(v["levels"]) for v in json.loads(said)["variants"] if v["ok"]}
        row["ran"] = "verify: " + ", ".join(
            f"{name} right at {count} levels" for name, count in right.items()
        )
    return row


@benchmark("dist")
def main(quick: bool) -> Result:
    """Install what `make dist` made, each file in a clean environment, and run it there."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-dist-") as temporary:
        folder = Path(temporary)
        out = None if quick else folder / "quickstart"
        extra = "ort" if quick else "quickstart"
        rows.append(_in_a_new_environment(_made("*x86_64.whl"), extra, folder / "x86", out))
        rows.append(_in_a_new_environment(_made("*.tar.gz"), "ort", folder / "sources", None))
        if not missing_tools("arm64"):
            rows.append(_on_arm(_made("*aarch64.whl"), folder / "arm", out and out / "bundle"))
    expected = rows[0]["version"]
    right = sum(row["version"] == expected and row["kernels"] for row in rows)
    ran = sum(bool(row["ran"]) for row in rows)
    return Result(
        rows,
        [
            at_least("files of `make dist` that answer with kernels in a clean environment", 3, right),
            at_least("quickstart from the x86-64 wheel, and its bundle verified on ARM", 2, ran),
        ],
    )


if __name__ == "__main__":
    main()
