"""Make the environment of an engine to compare with: `python -m benchmarks.peers install openvino|deepsparse|ncnn`."""

from __future__ import annotations

import subprocess

import click

from benchmarks.peers import PACKAGES, install


@click.group(help=(__doc__ or "").strip())
def main() -> None:
    """Group of one verb."""


@main.command("install")
@click.argument("name", type=click.Choice(sorted(PACKAGES)))
def _install(name: str) -> None:
    """Install an engine with pip into .venvs/NAME, away from elsa-edge's own environment."""
    try:
        folder = install(name)
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"{name} was not installed: status {error.returncode}") from error
    print(folder)


if __name__ == "__main__":
    main()
