"""`elsa-edge train`: nested levels from a training file, resumable after a kill."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import emit, json_option, new_file, print_table, say, stderr_console
from elsa_edge.files.claims import NESTED

if TYPE_CHECKING:
    from elsa_edge.training.runner import Event

__all__ = ["command"]


@contextmanager
def _bar() -> Iterator[Callable[[Event], None]]:
    """Show a progress bar with the time left on a terminal, and a line for each epoch elsewhere; on stderr."""
    if not sys.stderr.isatty():
        yield _line
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        task = progress.add_task("training", total=None)

        def show(event: Event) -> None:
            accuracy = "" if event.accuracy is None else f"  accuracy {event.accuracy:.4f}"
            progress.update(
                task,
                completed=event.step,
                total=event.steps,
                description=f"{event.segment}  loss {event.loss:.4f}{accuracy}",
            )

        yield show


def _line(event: Event) -> None:
    if event.epoch is not None:
        say(
            f"{event.segment}: epoch {event.epoch}, step {event.step} of {event.steps}, loss {event.loss:.4f}, "
            f"accuracy {event.accuracy:.4f}"
        )


@click.command("train", epilog="Example: elsa-edge train examples/cnn.yaml -o nested.safetensors")
@click.argument("config", type=click.Path(path_type=Path))
@new_file(
    help="The nested checkpoint to write (.safetensors); state and log go to the folder OUTPUT.run beside it.",
    kinds=(NESTED,),
)
@click.option(
    "--restart",
    is_flag=True,
    help="Start anew instead of going on with a run that was stopped; replace another result.",
)
@json_option
def command(*, config: Path, destination: Path, restart: bool, as_json: bool) -> None:
    """Train nested sparsity levels as the YAML file CONFIG describes.

    A run that was stopped goes on where it was when the same command is given again. On several GPUs or
    processes: torchrun --nproc-per-node N --no-python elsa-edge train CONFIG -o OUT.
    """
    from elsa_edge.training.config import read_config

    settings = read_config(config)  # before the seconds that torch takes to load
    from elsa_edge.training.runner import run_training

    folder = destination.with_name(destination.name + ".run")
    if (folder / "state.pt").is_file() and not restart:
        say(f"Going on with the training in {folder}.")
    try:
        with _bar() as progress:
            checkpoint = run_training(settings, destination, restart=restart, progress=progress)
    except KeyboardInterrupt:
        say(
            f"Stopped. To go on: elsa-edge train {shlex.quote(str(config))} -o {shlex.quote(str(destination))}"
        )
        raise
    rows = [
        {
            "level": level.name,
            "sparsity": level.sparsity,
            "density": level.density,
            "flops_fraction": level.flops_fraction,
            "accuracy": level.accuracy,
        }
        for level in checkpoint.ladder
    ]
    columns = ["level", "sparsity", "density", "flops_fraction", "accuracy"]
    print_table(str(destination), columns, [[row[name] for name in columns] for row in rows])
    for note in checkpoint.provenance["notes"]:
        say(f"note: {note}")
    emit({"checkpoint": str(destination), "log": str(folder), "levels": rows}, as_json=as_json)
