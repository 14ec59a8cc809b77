"""Run the zoo, go on where it was stopped, and write the table: `python -m benchmarks.zoo install|run|table`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import RESULTS, context, same_machine, stdout_for_result
from benchmarks.zoo import QUIET, ROOT, install, interpreter, run_worker
from benchmarks.zoo.networks import NETWORKS
from benchmarks.zoo.table import claims, table

REPORT: Final = RESULTS / "zoo.json"
PAGE: Final = ROOT / "docs" / "zoo.md"
_MARK: Final = "<!-- table -->\n"

Row = dict[str, Any]


def _rows(path: Path, here: Row | None = None) -> list[Row]:
    """Return the rows of a report.

    Args:
        path: The report; without one there are no rows.
        here: The context of rows that will stand beside them.

    Raises:
        click.UsageError: When the rows are of another machine.
    """
    if not path.is_file():
        return []
    report = json.loads(path.read_text(encoding="utf-8"))
    if here is not None and not same_machine(here, report["context"]):
        raise click.UsageError(f"{path} holds rows of another machine; name another file with --report")
    rows: list[Row] = report["rows"]
    return rows


def _report(rows: list[Row]) -> dict[str, Any]:
    return {"benchmark": "zoo", "context": context(), "rows": rows, "claims": claims(rows)}


def _save(path: Path, rows: list[Row]) -> None:
    order = list(NETWORKS)
    rows = sorted(rows, key=lambda row: order.index(row["network"]))
    path.write_text(json.dumps(_report(rows), indent=2) + "\n", encoding="utf-8")


def _where() -> Row:
    """Return when something is measured, on which code and beside what."""
    here = context()
    return {"date_utc": here["date_utc"], "commit": here["commit"], "load_1_min": here["load_1_5_15_min"][0]}


def _one(name: str, timeout_s: float, *, flags: tuple[str, ...]) -> Row:
    """Take one network the whole way in a process of its own."""
    where = _where() | {"quick": "--quick" in flags, "static": "--static" in flags}
    return _taken(name, timeout_s, flags=flags) | {"measured": where}


def _taken(name: str, timeout_s: float, *, flags: tuple[str, ...]) -> Row:
    try:
        done = run_worker([*flags, name], timeout_s)
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


def _said(text: str, facts: dict[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else text)


_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@main.command("install")
@_JSON
def _install(*, as_json: bool) -> None:
    """Make the environment of the zoo, and print where it is."""
    with stdout_for_result():
        folder = install()
    _said(str(folder), {"environment": str(folder)}, as_json=as_json)


@main.command("run")
@click.argument("names", nargs=-1, type=click.Choice(list(NETWORKS)))
@click.option("--again", is_flag=True, help="Also those that have a result.")
@click.option("--quick", is_flag=True, help="Without sparse kernels and without timing.")
@click.option("--static", is_flag=True, help="With a batch of 1, which traces in a third of the time.")
@click.option("--timeout", default=900.0, show_default=True, help="Seconds for one network.")
@click.option("--report", type=click.Path(path_type=Path), default=REPORT, show_default=True)
@_JSON
def _run(
    names: tuple[str, ...],
    *,
    again: bool,
    quick: bool,
    static: bool,
    timeout: float,
    report: Path,
    as_json: bool,
) -> None:
    """Take networks the whole way, one after the other; each result is kept at once."""
    rows = _rows(report, context())
    flags = tuple(flag for flag, wanted in (("--quick", quick), ("--static", static)) if wanted)
    for name in names or tuple(NETWORKS):
        if not again and any(row["network"] == name for row in rows):
            continue
        row = _one(name, timeout, flags=flags)
        rows = [*(other for other in rows if other["network"] != name), row]
        _save(report, rows)
        said = row.get("refusal") or row.get("crash") or row["graph_difference"]
        click.echo(f"{name}: {row['reached']} {said}", err=True)
    if as_json:
        click.echo(json.dumps(_report(rows)))


@main.command("share")
@click.option("--report", type=click.Path(path_type=Path), default=REPORT, show_default=True)
@_JSON
def _shares(*, report: Path, as_json: bool) -> None:
    """Find the nested share again of rows from before depthwise convolutions stayed dense; the rest stays."""
    rows = {row["network"]: row for row in _rows(report, context())}
    old = [
        name for name, row in rows.items() if row["reached"] == "all" and "depthwise_multiply_adds" not in row
    ]
    for found in _found_shares(old):
        name = found["network"]
        rows[name] |= found | {"share_measured": _where()}
        _save(report, list(rows.values()))
        click.echo(f"{name}: {found['nested_multiply_adds']}", err=True)
    if as_json:
        click.echo(json.dumps(_report(list(rows.values()))))


def _found_shares(names: list[str]) -> Iterator[Row]:
    """Yield the share of each network, all in one process: starting it takes longer than a small network.

    Raises:
        subprocess.CalledProcessError: When the process ends early; what was found until then has been yielded.
    """
    command = [str(interpreter()), "-m", "benchmarks.zoo.worker", "--share", *names]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | QUIET, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # it was asked for
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


@main.command("table")
@_JSON
def _table(*, as_json: bool) -> None:
    """Write the results into docs/zoo.md."""
    before = PAGE.read_text(encoding="utf-8").partition(_MARK)[0]
    rows = _rows(REPORT)
    PAGE.write_text(before + _MARK + "\n" + table(rows) + "\n", encoding="utf-8")
    _said(f"{PAGE}: {len(rows)} networks", {"page": str(PAGE), "networks": len(rows)}, as_json=as_json)


if __name__ == "__main__":
    main()
