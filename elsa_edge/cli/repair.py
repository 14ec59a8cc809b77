"""`elsa-edge repair`: tune the levels of a nested checkpoint on unlabelled inputs, the dense network as teacher."""

from __future__ import annotations

from pathlib import Path

import click

from elsa_edge.cli._common import emit, json_option, new_file, say
from elsa_edge.cli._repairing import inputs_of, repair_rows, show_repair, watching
from elsa_edge.files.claims import NESTED

__all__ = ["command"]


@click.command(
    "repair",
    epilog="Example: elsa-edge repair nested.safetensors --model nets:resnet20 --data inputs.npz -o better.safetensors",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--model", required=True, metavar="PKG.MODULE:FACTORY", help="Makes the network; takes no arguments."
)
@click.option(
    "--data",
    required=True,
    metavar="FILE.npz|FOLDER|PKG.MODULE:FACTORY",
    help="Inputs without labels: arrays named as the network's inputs, pictures, or what a factory makes.",
)
@click.option(
    "--mode",
    default="tables",
    show_default=True,
    help="tables (every weight keeps its bits) or weights (tuned level by level, then frozen).",
)
@click.option("--minutes", type=float, help="Time for all levels together; without it, all steps are done.")
@click.option("--steps", default=400, show_default=True, help="Optimiser steps a level, at most.")
@click.option("--batch-size", default=128, show_default=True, help="Inputs a step.")
@click.option(
    "--learning-rate",
    type=float,
    help="Peak step, in parts of each tensor's size; 0.1 for tables and 0.03 for weights by default.",
)
@click.option("--loss", default="auto", show_default=True, help="auto, kl, mse, or PKG.MODULE:FUNCTION.")
@click.option(
    "--feature", "features", multiple=True, metavar="MODULE", help="A module to imitate too; can be repeated."
)
@click.option(
    "--augment", default="auto", show_default=True, help="Vary images: auto, none, crop or crop-flip."
)
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="[NAME=]SHAPE[:DTYPE]",
    help="Size of pictures from a folder, such as 1x3x224x224.",
)
@click.option(
    "--scale",
    "scaling",
    default="auto",
    show_default=True,
    help="Of pictures from a folder: auto, unit (0..1), signed (-1..1), imagenet or bytes (0..255).",
)
@click.option("--accept-inputs", is_flag=True, help="Go on although the inputs look unlike the training's.")
@click.option("--teacher", type=click.Path(path_type=Path), help="A dense checkpoint to imitate instead.")
@click.option("--seed", default=0, show_default=True, help="Of order, augmentation and what is held out.")
@click.option(
    "--restart", is_flag=True, help="Start anew instead of going on with a repair that was stopped."
)
@new_file(help="The repaired checkpoint to write (.safetensors).", kinds=(NESTED,))
@json_option
def command(
    *,
    checkpoint: Path,
    model: str,
    data: str,
    mode: str,
    minutes: float | None,
    steps: int,
    batch_size: int,
    learning_rate: float | None,
    loss: str,
    features: tuple[str, ...],
    augment: str,
    input_shapes: tuple[str, ...],
    scaling: str,
    accept_inputs: bool,
    teacher: Path | None,
    seed: int,
    restart: bool,
    destination: Path,
    as_json: bool,
) -> None:
    """Make the sparse levels of CHECKPOINT accurate, on inputs without labels; the dense network is the teacher.

    A repair that was stopped goes on where it was when the same command is given again. On several GPUs or
    processes: torchrun --nproc-per-node N --no-python elsa-edge repair ...
    """
    from elsa_edge.repairing.settings import RepairSettings

    settings = RepairSettings(
        mode=mode,
        features=features,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        augment=augment,
        minutes=minutes,
        accept_inputs=accept_inputs,
        seed=seed,
        loss="auto" if ":" in loss else loss,
    )
    import dataclasses

    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.factory import build_model, load_factory
    from elsa_edge.repairing import repair
    from elsa_edge.repairing.group import is_first
    from elsa_edge.trained import load_arrays, load_dense, plain_network

    if ":" in loss:
        settings = dataclasses.replace(settings, loss=load_factory(loss))
    nested = NestedCheckpoint.load(checkpoint)
    network = plain_network(build_model(model)).float()
    load_arrays(network, nested.weights)
    guide = None
    if teacher is not None:
        guide = build_model(model)
        load_dense(guide, teacher)
    inputs = inputs_of(data, network, input_shapes, scaling)
    state = destination.with_name(destination.name + ".repair")
    if restart:
        state.unlink(missing_ok=True)
    elif state.is_file() and is_first():
        say(f"Going on with the repair in {state}.")
    with watching() as progress:
        repaired = repair(nested, network, inputs, settings, teacher=guide, state=state, progress=progress)
    if not is_first():
        return
    repaired.save(destination)
    show_repair(destination, repaired.provenance)
    emit(
        {
            "checkpoint": str(destination),
            "mode": mode,
            "seconds": repaired.provenance["repair"]["seconds"],
            "inputs": repaired.provenance["repair"]["inputs"],
            "levels": repair_rows(repaired.provenance),
        },
        as_json=as_json,
    )
