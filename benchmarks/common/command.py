"""`python -m benchmarks.NAME [--quick] [--json] [--out FILE]`, around a function that measures."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common.claims import Result
from benchmarks.common.context import context
from benchmarks.common.report import report_text, show
from elsa_edge.files import write_bytes

__all__ = ["RESULTS", "benchmark", "parts_option", "stdout_for_result"]

RESULTS: Final = Path(__file__).parents[1] / "results"


@contextlib.contextmanager
def stdout_for_result() -> Iterator[None]:
    """Send to stderr what anybody prints meanwhile, also started programs: stdout is the result's."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def parts_option(name: str, choices: Sequence[str]) -> Callable[[Any], Any]:
    """Return the option `--NAME`, repeatable, that measures only these parts; the function gets them as `NAMEs`."""
    return click.option(
        f"--{name}", f"{name}s", multiple=True, type=click.Choice(choices), help="Only this one; repeatable."
    )


def benchmark(name: str, *options: Callable[[Any], Any]) -> Callable[[Callable[..., Result]], click.Command]:
    """Turn `function(quick, ...) -> Result` into `python -m benchmarks.NAME [--quick] [--json] [--out FILE] ...`.

    `options` are further click options, whose values the function gets by name. A full run writes
    `benchmarks/results/NAME.json`; a quick one writes only where `--out` says. Claims that do not hold are reported,
    and the exit status is still 0: a benchmark tells, it does not judge.
    """

    def decorate(function: Callable[..., Result]) -> click.Command:
        @click.command(name, help=(function.__doc__ or name).strip())
        @click.option(
            "--quick", is_flag=True, help="Fewer nets and rounds: checks the plumbing, not the figures."
        )
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
        @click.option(
            "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON object there."
        )
        def command(quick: bool, as_json: bool, out: Path | None, **more: Any) -> None:
            before = context()
            with stdout_for_result():
                result = function(quick, **more)
            text = report_text(name, result, before | {"quick": quick})
            destination = out or (None if quick else RESULTS / f"{name}.json")
            if destination is not None:
                write_bytes(destination, text.encode())
            show(name, result)
            if as_json:
                click.echo(text, nl=False)

        for option in options:
            option(command)
        return command

    return decorate
