"""A new user's first ten minutes: a clean clone, the commands of README's "Try it" and nothing else, an open report.

The clone, the home folder and so pip's cache are new. pip is set up as on this machine (its PIP_ variables stay): that
is where README's words on the CPU build of torch come in, without which pip takes five gigabytes.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.browser import browse, loading_ms, requests_of
from benchmarks.common import Result, Row, at_least, at_most, benchmark

__all__ = ["commands", "main"]

_ROOT: Final = Path(__file__).resolve().parents[1]
_LONGEST_S: Final = 600.0
_WIDTHS: Final = (390, 1440)
# `make test` stands in the same block: the suite is not part of the way to a report.
_NOT_ON_THE_WAY: Final = ("make test",)
_KEPT: Final = ("PATH", "LANG", "TERM", "TMPDIR", *(name for name in os.environ if name.startswith("PIP_")))


def commands(readme: str) -> list[str]:
    """Return the commands of README's "Try it" that lead to the report."""
    section = readme.partition("## Try it\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^ {4}(\S.*?)(?: +#.*)?$", section, re.MULTILINE)
    return [line for line in lines if line not in _NOT_ON_THE_WAY]


def _timed(words: list[str], **options: object) -> tuple[float, str]:
    began_s = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]  # passed through
    if done.returncode:
        message = f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise RuntimeError(message)
    return time.monotonic() - began_s, done.stdout + done.stderr


@benchmark("walk")
def main(quick: bool) -> Result:  # noqa: ARG001 - every benchmark has it
    """From README alone to an open report, on a clean clone with a new environment."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-walk-") as temporary:
        folder = Path(temporary)
        clone, home = folder / "elsa-edge", folder / "home"
        home.mkdir()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"HOME": str(home)}
        seconds, _ = _timed(["git", "clone", "--quiet", "--depth", "1", f"file://{_ROOT}", str(clone)])
        rows.append({"step": "git clone", "seconds": seconds, "found": ""})
        for command in commands((clone / "README.md").read_text(encoding="utf-8")):
            seconds, said = _timed(["bash", "-c", command], cwd=clone, env=environment)
            rows.append({"step": command, "seconds": seconds, "found": said.strip().splitlines()[-1][:120]})
        report = clone / "quickstart" / "report.html"
        for width in _WIDTHS:
            began_s = time.monotonic()
            shot = folder / f"{width}.png"
            done = browse(report, folder, f"--screenshot={shot}", f"--window-size={width},1200")
            opened_s = time.monotonic() - began_s
            noise = done.stderr.count("CONSOLE") + len(requests_of(folder))
            laid_out = loading_ms(report, folder, width)
            found = f"{report.stat().st_size} bytes, laid out in {laid_out:.0f} ms, {noise} console lines and requests"
            rows.append({"step": f"open the report at {width} px", "seconds": opened_s, "found": found})
        opened = sum(1 for width in _WIDTHS if (folder / f"{width}.png").stat().st_size > 0)
    total_s = sum(row["seconds"] for row in rows)
    # Where others use the machine, too, this is what a machine of one's own would take at least, on one core.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows.append({"step": "CPU time of all steps", "seconds": used.ru_utime + used.ru_stime, "found": ""})
    return Result(
        rows,
        [
            at_most("README alone to an open report, seconds", _LONGEST_S, total_s),
            at_least("widths at which the report was drawn", len(_WIDTHS), opened),
        ],
    )


if __name__ == "__main__":
    main()
