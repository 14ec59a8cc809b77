"""`elsa-edge train`: nested levels from a training file, resumable after a kill."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import emit, json_option, new_file, print_table, say
from elsa_edge.cli._interrupted import CODE, WHOLE
from elsa_edge.cli._progress import bar
from elsa_edge.files.claims import NESTED

if TYPE_CHECKING:
    from elsa_edge.training.runner import Event

__all__ = ["command"]


def _bar() -> AbstractContextManager[Callable[[Event], None]]:
    """Show how training goes on."""

    def describe(event: Event) -> str:
        accuracy = "" if event.accuracy is None else f"  accuracy {event.accuracy:.4f}"
        return f"{event.segment}  loss {event.loss:.4f}{accuracy}"

    return bar("training", describe=describe, line=_line)


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
    help="Start anew instead of going on with a run that was stopped; replace a result that is there.",
)
@json_option
def command(*, config: Path, destination: Path, restart: bool, as_json: bool) -> None:
    """Train nested sparsity levels as the YAML file CONFIG describes.

    A run that was stopped goes on where it was when the same command is given again; one that is finished is not
    trained twice. On several GPUs or
    processes: torchrun --nproc-per-node N --no-python elsa-edge train CONFIG -o OUT.
    """
    from elsa_edge.training.config import read_config

    settings = read_config(config)  # before the seconds that torch takes to load
    from elsa_edge.training.run_state import STATE_FILE
    from elsa_edge.training.runner import finished, folder_beside, run_training

    folder = folder_beside(destination)
    if not restart:
        if finished(settings, destination) is not None:
            say(f"{destination} is trained with this configuration already. To train it again: --restart")
        elif (folder / STATE_FILE).is_file():
            say(f"Going on with the training in {folder}.")
    try:
        with _bar() as progress:
            checkpoint = run_training(settings, destination, restart=restart, progress=progress)
    except KeyboardInterrupt:
        again = f"elsa-edge train {shlex.quote(str(config))} -o {shlex.quote(str(destination))}"
        say(f"Stopped. {WHOLE} To go on: {again}")
        raise click.exceptions.Exit(CODE) from None
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
