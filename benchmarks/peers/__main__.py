"""Make the environment of an engine to compare with: `python -m benchmarks.peers install openvino|deepsparse|ncnn`."""

from __future__ import annotations

import json
import subprocess

import click

from benchmarks.common import stdout_for_result
from benchmarks.peers import PACKAGES, install


@click.group(help=(__doc__ or "").strip())
def main() -> None:
    """Group of one verb."""


@main.command("install")
@click.argument("name", type=click.Choice(sorted(PACKAGES)))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def _install(name: str, *, as_json: bool) -> None:
    """Install an engine with pip into .venvs/NAME, away from elsa-edge's own environment."""
    try:
        with stdout_for_result():
            folder = install(name)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"{name} was not installed: status {error.returncode}") from error
    click.echo(json.dumps({"engine": name, "folder": str(folder)}) if as_json else folder)


if __name__ == "__main__":
    main()
