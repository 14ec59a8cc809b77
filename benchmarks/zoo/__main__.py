"""Run the zoo, go on where it was stopped, and write the table: `python -m benchmarks.zoo install|run|table`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import RESULTS, context
from benchmarks.zoo import ROOT, install, interpreter
from benchmarks.zoo.networks import NETWORKS
from benchmarks.zoo.table import claims, table

REPORT: Final = RESULTS / "zoo.json"
PAGE: Final = ROOT / "docs" / "zoo.md"
_MARK: Final = "<!-- table -->\n"

Row = dict[str, Any]


def _rows(path: Path) -> list[Row]:
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    return rows


def _save(path: Path, rows: list[Row]) -> None:
    order = list(NETWORKS)
    rows = sorted(rows, key=lambda row: order.index(row["network"]))
    report = {"benchmark": "zoo", "context": context(), "rows": rows, "claims": claims(rows)}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _one(name: str, timeout_s: float, *, flags: tuple[str, ...]) -> Row:
    """Take one network the whole way in a process of its own."""
    command = [str(interpreter()), "-m", "benchmarks.zoo.worker", *flags, name]
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true", "TQDM_DISABLE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | quiet,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"network": name, "reached": "timeout", "crash": f"not done after {timeout_s:g} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-1:]
        return {"network": name, "reached": "process", "crash": f"status {done.returncode}: {' '.join(last)}"}
    row: Row = json.loads(lines[-1])
    return row


@click.group(help=(__doc__ or "").strip())
def main() -> None:
    """Group of the three verbs."""


@main.command("install")
def _install() -> None:
    """Make the environment of the zoo."""
    print(install())


@main.command("run")
@click.argument("names", nargs=-1, type=click.Choice(list(NETWORKS)))
@click.option("--again", is_flag=True, help="Also those that have a result.")
@click.option("--quick", is_flag=True, help="Without sparse kernels and without timing.")
@click.option("--static", is_flag=True, help="With a batch of 1, which traces in a third of the time.")
@click.option("--timeout", default=900.0, show_default=True, help="Seconds for one network.")
@click.option("--report", type=click.Path(path_type=Path), default=REPORT, show_default=True)
def _run(
    names: tuple[str, ...], *, again: bool, quick: bool, static: bool, timeout: float, report: Path
) -> None:
    """Take networks the whole way, one after the other; each result is kept at once."""
    rows = _rows(report)
    flags = tuple(flag for flag, wanted in (("--quick", quick), ("--static", static)) if wanted)
    for name in names or tuple(NETWORKS):
        if not again and any(row["network"] == name for row in rows):
            continue
        row = _one(name, timeout, flags=flags)
        rows = [*(other for other in rows if other["network"] != name), row]
        _save(report, rows)
        print(
            f"{name}: {row['reached']} {row.get('refusal') or row.get('crash') or row['graph_difference']}",
            flush=True,
        )


@main.command("table")
def _table() -> None:
    """Write the results into docs/zoo.md."""
    before = PAGE.read_text(encoding="utf-8").partition(_MARK)[0]
    PAGE.write_text(before + _MARK + "\n" + table(_rows(REPORT)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
