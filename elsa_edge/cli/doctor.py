"""`elsa-edge doctor`: look for what may go wrong on this machine, before it does."""

from __future__ import annotations

from dataclasses import asdict

import click

from elsa_edge.cli._common import emit, json_option, print_table

__all__ = ["command"]

_SIGNS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@click.command(name="doctor", epilog="Example: elsa-edge doctor --json")
@json_option
def command(*, as_json: bool) -> None:
    """Look at Python, runtimes, CPU, memory and power settings of this machine, and say what may go wrong.

    Exit code 1 when there is a problem that will stop networks from running.
    """
    from elsa_edge.doctor import examine

    findings = examine()
    print_table(
        "This machine",
        ("what", "found", "", "advice"),
        [(f.what, f.found, _SIGNS[f.state], f.advice or "") for f in findings],
    )
    problems = [finding for finding in findings if finding.state == "problem"]
    emit({"ok": not problems, "findings": [asdict(finding) for finding in findings]}, as_json=as_json)
    if problems:
        raise SystemExit(1)
